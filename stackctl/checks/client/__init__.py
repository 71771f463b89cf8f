"""Checks of the client's side: whether Claude Code started in this shell would use the stack."""

from __future__ import annotations

from stackctl.checks.client import agents, background, compaction, keys, settings, shell, values

CHECKS = (
    *keys.CHECKS,
    *shell.CHECKS,
    *settings.CHECKS,
    *background.CHECKS,
    *values.CHECKS,
    *agents.CHECKS,
    *compaction.CHECKS,
)
