"""Run coding agents on a model of your own."""

__version__ = "0.1.0"
