"""Checks of a `litellm_config.yaml` that somebody wrote by hand."""

from __future__ import annotations

from stackctl.checks.handmade import limits, rows, running, settings, spelling

CHECKS = (*settings.CHECKS, *limits.CHECKS, *running.CHECKS, *spelling.CHECKS, *rows.CHECKS)
