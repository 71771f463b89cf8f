"""Checks of the model's files, from their small JSON parts and the headers of the weights; no tensor is read."""

from __future__ import annotations

from stackctl.checks.modelfiles import kind, parts

CHECKS = (*parts.CHECKS, *kind.CHECKS)
