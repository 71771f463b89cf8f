"""What vLLM's own Python imports from us: this directory, and nothing else of stackctl, is on its PYTHONPATH."""
