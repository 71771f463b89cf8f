"""Several engines on one machine: which part of it each is planned for. Pure.

`--gpu-memory-utilization` is a share of the whole device and holds for one engine alone, so the shares of all must fit
beside each other. What somebody wrote (a share in `args`) and what the embedded model needs are taken first. The others
get GPUs of their own where there are enough, else a part of every device, by what they need.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stackctl.config import EMBEDDED
from stackctl.errors import ConfigError
from stackctl.host import GIB
from stackctl.plan import flags as vllm
from stackctl.plan import memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stackctl.host import Gpu, Host
    from stackctl.plan.types import EngineInputs

BESIDE = 4 * GIB  # beside the weights: the working space, and a conversation


def parts(engines: Sequence[EngineInputs], notes: list[str]) -> list[EngineInputs]:
    """`engines`, each with the part of the machine that it may use; what people should know of it goes to `notes`."""
    here = [each for each in engines if each.config.url is None]
    if len(here) < 2:
        return list(engines)
    found: dict[str, EngineInputs] = {}
    host = here[0].host
    shares: dict[int, float] = {}
    for each in here:
        if _fixed(each):
            found[each.name] = one = replace(each, host=host, shared=_cards(host) != ())
            used = _used(one)
            _add(shares, used, one)
            host = _less(host, one, used)
    rest = [each for each in here if each.name not in found]
    ways = [way for way in (_whole(rest, host), _divided(rest, host)) if way]
    chosen = next((way for way in ways if all(map(_fits, way))), ways[-1] if ways else [])
    found |= {each.name: each for each in chosen}
    notes.append(_note(len(here), chosen))
    return [found.get(each.name, each) for each in engines]


def _fixed(one: EngineInputs) -> bool:
    """Whether the memory that it takes does not depend on what is free."""
    return _share(one.config.args) is not None or (one.config.model == EMBEDDED and not _cards(one.host))


def _share(args: Mapping[str, Any]) -> float | None:
    share = args.get("gpu-memory-utilization")
    return float(share) if isinstance(share, int | float) and 0 < share <= 1 else None


def _cards(host: Host) -> tuple[Gpu, ...]:
    return host.gpus or host.amd


def _group(one: EngineInputs) -> int:
    """The GPUs that the configuration asks for; 0 where it does not say."""
    sizes = [one.config.args.get(f"{kind}-parallel-size") for kind in ("tensor", "pipeline")]
    whole = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size > 0]
    return (whole[0] * whole[-1] if len(whole) == 2 else whole[0]) if whole else 0


def _need(one: EngineInputs) -> int:
    """What it needs, roughly, in bytes; 0 for a model that nothing is known of."""
    if one.config.model == EMBEDDED:
        return vllm.EMBEDDED_MEMORY
    return one.size.weights + BESIDE if one.size is not None else 0


def _needs(engines: Sequence[EngineInputs]) -> list[int]:
    """The same of several; one of which nothing is known counts as the mean of the others."""
    needs = [_need(each) for each in engines]
    known = [each for each in needs if each]
    return [each or (sum(known) // len(known) if known else 1) for each in needs]


def _fits(one: EngineInputs) -> bool:
    found = vllm.fitted(one)
    return found is None or not found.refusal


def _used(one: EngineInputs) -> set[int]:
    """The GPUs that an engine of a fixed share will take."""
    fit = vllm.fitted(one)
    if fit is not None and fit.used:
        return {each.index for each in fit.used}
    first = sorted(_cards(one.host), key=lambda card: (-card.memory_free, card.index))
    return {card.index for card in first[: _group(one) or 1]}


def _add(shares: dict[int, float], used: set[int], one: EngineInputs) -> None:
    """Add the share that is written for `one` to those of the devices that it uses (-1 is the processor's memory)."""
    share = _share(one.config.args) or 0.0
    for index in used if _cards(one.host) else {-1}:
        shares[index] = shares.get(index, 0.0) + share
        if shares[index] > 1:
            where = "of the memory" if index < 0 else f"of the memory of GPU {index}"
            raise ConfigError(
                f"`{one.path}.args.gpu-memory-utilization` is {share:g}, and with the other engines' that is "
                f"{shares[index]:g} {where}",
                remedy="let the shares of all engines on a device add up to less than 1, or write none",
            )


def _less(host: Host, one: EngineInputs, used: set[int]) -> Host:
    """What `one` leaves of `host`."""
    share = _share(one.config.args)
    cards = _cards(host)
    if not cards:
        taken = int(share * host.memory_total) + memory.BESIDE_CPU if share is not None else vllm.EMBEDDED_MEMORY
        return replace(host, memory_available=max(0, host.memory_available - taken))
    beside = 0 if one.config.args.get("enforce-eager") is True else memory.GRAPHS
    left = tuple(
        replace(card, memory_free=max(0, card.memory_free - int((share or 0) * card.memory_total) - beside))
        if card.index in used
        else card
        for card in cards
    )
    return _with(host, left)


def _with(host: Host, cards: tuple[Gpu, ...]) -> Host:
    return replace(host, gpus=cards) if host.gpus else replace(host, amd=cards)


def _whole(engines: Sequence[EngineInputs], host: Host) -> list[EngineInputs]:
    """Each engine with GPUs of its own; nothing where there are too few."""
    cards = sorted(_cards(host), key=lambda card: (-card.memory_free, card.index))
    counts = [_group(each) or 1 for each in engines]
    needs = _needs(engines)
    grows = [at for at, each in enumerate(engines) if not _group(each)]
    if not engines or sum(counts) > len(cards):
        return []
    for _ in range(len(cards) - sum(counts) if grows else 0):
        most = max(grows, key=lambda at: (needs[at] / counts[at], -at))
        counts[most] += 1
    found = []
    for each, count in zip(engines, counts, strict=True):
        own, cards = cards[:count], cards[count:]
        found.append(replace(each, host=_with(host, tuple(sorted(own, key=lambda card: card.index))), shared=True))
    return found


def _divided(engines: Sequence[EngineInputs], host: Host) -> list[EngineInputs]:
    """Each engine with a part of the free memory of every device."""
    needs = _needs(engines)
    found = []
    for each, need in zip(engines, needs, strict=True):
        part = need / sum(needs)
        cards = tuple(replace(card, memory_free=int(card.memory_free * part)) for card in _cards(host))
        of = _with(host, cards) if cards else host
        if not host.gpus:
            of = replace(of, memory_available=int(host.memory_available * part))
        found.append(replace(each, host=of, shared=bool(cards)))
    return found


def _note(count: int, divided: Sequence[EngineInputs]) -> str:
    def shown(one: EngineInputs) -> str:
        cards = _cards(one.host)
        if cards:
            free = sum(card.memory_free for card in cards)
            return f"{one.name} gets {free / GIB:.1f} GiB of GPU {', '.join(str(card.index) for card in cards)}"
        return f"{one.name} gets {one.host.memory_available / GIB:.1f} GiB"

    return f"{count} engines share this machine" + "".join(f"; {shown(each)}" for each in divided)
