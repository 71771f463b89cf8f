"""Checks of a `litellm_config.yaml` that somebody wrote by hand."""

from __future__ import annotations

from stackctl.checks.handmade import leans, limits, routing, rows, running, settings, spelling, values

CHECKS = (
    *settings.CHECKS,
    *limits.CHECKS,
    *running.CHECKS,
    *spelling.CHECKS,
    *values.CHECKS,
    *leans.CHECKS,
    *rows.CHECKS,
    *routing.CHECKS,
)
