"""What a repair may look at: the facts, its finding, and the files as the steps before it have left them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from stackctl.errors import StackError
from stackctl.repair.change import Change, current

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

    Verb = Callable[..., Change | None]


class ImpossibleError(StackError):
    """A repair that cannot be done now; the message says why."""


class Here:
    """One step of a repair."""

    def __init__(self, facts: Facts, finding: Finding, before: Change) -> None:
        self.facts = facts
        self.finding = finding
        self._texts = {each.path: each.text for each in before.edits}

    def text(self, path: str) -> str:
        """The text of a file; empty when there is none."""
        return (self._texts[path] or "") if path in self._texts else current(path)

    @property
    def said(self) -> str:
        """All that the finding says, for what a repair must read out of it."""
        return "\n".join((self.finding.cause, *self.finding.evidence, self.finding.remedy))


def keys(path: str) -> list[str]:
    r"""The keys of a dotted path; `\.` is a dot in a key."""
    return [each.replace("\0", ".") for each in path.replace("\\.", "\0").split(".")]


def value(word: str) -> Any:
    """A word of a repair as YAML reads it."""
    return yaml.safe_load(word)
