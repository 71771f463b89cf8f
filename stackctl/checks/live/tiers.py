"""Every model name that Claude Code may ask for: those that we export, and those that this shell and the settings set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live import listing
from stackctl.clients import claude, claude_settings
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stackctl.checks.facts import Facts
    from stackctl.checks.live.peer import Peer
    from stackctl.model import ClientFacts, Finding

VARIABLES = (
    "ANTHROPIC_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    *(f"ANTHROPIC_DEFAULT_{tier}_MODEL" for tier in claude.TIERS),
)
_LATER = {408, 429}  # statuses that say nothing of the name


@dataclass(frozen=True, slots=True)
class Asked:
    """A `name` that Claude Code asks for because of `variable`; `ours` where it is what `stackctl env` sets."""

    name: str
    variable: str
    ours: bool = False


def asked(facts: Facts, url: str) -> tuple[Asked, ...]:
    """The names that may be asked of the end at `url`. None of a provider's: each answer would cost.

    Of a running stack they are what `env` and `launch` give; what a shell or a settings file sets otherwise is
    compared with that by the checks of the client's side. Of anything else they are those of a client that points there.
    """
    client = facts.client
    if facts.own:
        return _exported(facts, client) if client is not None else ()
    mine = {**facts.environ, **_settings(facts)}
    if mine.get("ANTHROPIC_BASE_URL", "").rstrip("/") != url:
        return ()
    return tuple(Asked(mine[each].removesuffix("[1m]"), each) for each in VARIABLES if mine.get(each))


def _exported(facts: Facts, client: ClientFacts) -> tuple[Asked, ...]:
    adapted = claude.for_installed(asdict(client), facts.environ)
    hosted = {each["model"] for each in adapted["routes"] if not each["engine"]}  # type: ignore[attr-defined]
    made = claude.environment(adapted, None, {})
    return tuple(Asked(made[each], each, ours=True) for each in VARIABLES if each in made and made[each] not in hosted)


def _settings(facts: Facts) -> Mapping[str, str]:
    """What the settings files of Claude Code set; they beat the shell."""
    return {name: value for name, (_, value) in claude_settings.sources(facts.environ, facts.cwd).items()}


def answered(peer: Peer, names: Sequence[Asked]) -> Iterator[Finding]:
    """Each model name that Claude Code may ask for is answered: of every tier, and of background work."""
    wanted: dict[str, list[Asked]] = {}
    for each in names:
        if each.name != peer.endpoint.model:  # that one is asked by every check
            wanted.setdefault(each.name, []).append(each)
    for name, those in wanted.items():
        reply = peer.ask("Say hi.", max_tokens=1, model=name, enough=lambda _: True)
        if not reply.refused or reply.status >= 500 or reply.status in _LATER:
            continue  # it is known, perhaps with an engine that is ill
        yield finding(
            f"{peer.where}.{'tier-lost' if those[0].ours else 'tier'}",
            Status.FAIL,
            (f"for the model `{name}`: {reply.shown()}",),
            model=name,
            variables=", ".join(each.variable for each in those),
            names=listing.named(peer),
            **peer.words(),
        )
