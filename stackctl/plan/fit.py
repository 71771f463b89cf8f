"""How a model fits a machine: parallelism, window, cache and flags, or why not. Pure.

Rules, so that more memory never means a smaller window: of the ways to run a model, the best one (compiled, cache in
full precision) may use any window, an 8-bit cache is only taken to reach an agent's comfortable one (64k), and doing
without CUDA graphs, which costs speed, to reach one that an agent can work in (32k). A window is made so large that two conversations of it fit; below 64k one has to do, as an agent is worth more than its subagents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from stackctl import amounts
from stackctl.host import GIB
from stackctl.plan import memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackctl.architecture import Architecture
    from stackctl.plan.hardware import Device

FLOOR = 16384  # tokens; Claude Code's first request alone has 8k to 25k (vllm#44576, jan#8108)
WARN = 32768
COMFORTABLE = 65536
CAP = 0.92  # of a GPU's memory, vLLM's own default for --gpu-memory-utilization; 0.95 without CUDA graphs
CAP_EAGER = 0.95
STEP = 0.001  # that --gpu-memory-utilization is rounded to, downwards
GB = 10**9
SMALL_BATCH = 2048
LARGE = 70 * GIB  # from here on vLLM batches 8192 tokens by default, else 2048 (EngineArgs.get_batch_defaults, 0.32.0)
LARGEST = 160 * GIB  # and from here on 16384

Sure = Literal["counted", "estimated", "unknown"]


@dataclass(frozen=True, slots=True)
class Size:
    """What the sum needs to know of a model. `weights` and the recipe's `minimum` over all GPUs, in bytes.

    On one GPU with less than `eager_under` bytes, CUDA graphs are known to fail. `context` is the most tokens it was made for. `arch` is None where no sum can be made (`why` says it then).
    """

    name: str
    precision: str
    weights: int
    context: int
    arch: Architecture | None
    minimum: int = 0
    eager_under: int = 0
    vision: bool = False
    sure: Sure = "counted"
    why: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user decided; None where the planner may."""

    window: int | None = None
    tp: int | None = None
    pp: int | None = None
    utilization: float | None = None
    cache: str | None = None
    eager: bool | None = None
    sequences: int | None = None
    batch: int | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model runs on some devices. Bytes are for each GPU; `refusal` says why it cannot, empty when it can.

    `used` are the devices. `pool` is the memory for conversations, `each` what one of `window` tokens takes of it, and
    `tokens` how many the pool holds in all. `utilization` is None where vLLM's default is right.
    """

    size: Size
    used: tuple[Device, ...]
    tp: int = 1
    pp: int = 1
    window: int = 0
    sequences: int = 0
    batch: int = 0
    cache: str = "auto"
    eager: bool = False
    utilization: float = CAP
    budget: int = 0
    weights: int = 0
    working: memory.Working | None = None
    pool: int = 0
    each: int = 0
    most: int = 0
    refusal: str = ""
    notes: tuple[str, ...] = ()

    @property
    def conversations(self) -> float:
        """How many full windows fit side by side: `Maximum concurrency` in vLLM's log."""
        return self.pool / self.each if self.each else 0.0

    @property
    def tokens(self) -> int:
        """Tokens in the cache: `KV cache size` in vLLM's log."""
        return int(self.conversations * self.window)


def fit(size: Size, devices: Sequence[Device], asked: Asked | None = None) -> Fit:
    """The best way to run a model on `devices` (all of one kind, most free memory first), or a Fit with a refusal."""
    asked = asked or Asked()
    if not devices:
        return Fit(size, (), refusal="there is no build of vLLM for macOS: run the engine on another machine (`url:`)")
    if not devices[0].runs(size.precision):
        return Fit(size, tuple(devices[:1]), refusal=f"{devices[0].name} cannot compute with {size.precision} weights")
    if size.arch is None:
        return _without_sum(size, devices)
    best: Fit | None = None
    for tp, pp in _groups(size.arch, devices, asked):
        used = tuple(devices[: tp * pp])
        found = _on(size, used, tp, pp, asked)
        if best is None or best.refusal or (not found.refusal and found.window > best.window):
            best = found  # of refusals, the one with the most GPUs says the most
    if best is None:
        wanted = (asked.tp or 1) * (asked.pp or 1)
        return Fit(size, tuple(devices), refusal=f"{wanted} GPUs are asked for, and {_count(devices)}")
    return best


def _without_sum(size: Size, devices: Sequence[Device]) -> Fit:
    """All that can be said without the architecture: whether the recipe's minimum is there."""
    total = sum(device.total for device in devices)
    need = max(size.minimum, size.weights)
    refusal = (
        f"it needs at least {amounts.of_bytes(need)}, and {_count(devices)} with {amounts.of_bytes(total)}"
        if need > total
        else ""
    )
    unsummed = replace(size, sure="unknown")
    return Fit(unsummed, tuple(devices), tp=1, refusal=refusal, notes=(f"no window can be computed: {size.why}",))


def _groups(arch: Architecture, devices: Sequence[Device], asked: Asked) -> Iterator[tuple[int, int]]:
    """(tensor, pipeline) sizes to try, the smaller first; vLLM wants the attention heads divided without remainder."""
    count = len(devices)
    for gpus in range(1, count + 1):
        for tp in sorted((n for n in range(1, gpus + 1) if gpus % n == 0), reverse=True):
            pp = gpus // tp
            if arch.heads % tp or (arch.full.heads % tp and tp % arch.full.heads) or pp > arch.layers:
                continue
            if arch.sliding is not None and arch.sliding.heads % tp and tp % arch.sliding.heads:
                continue
            if (asked.tp or tp) != tp or (asked.pp or pp) != pp:
                continue
            yield tp, pp
            if asked.tp is None and asked.pp is None:
                break  # of one number of GPUs, the most tensor parallel way is the fastest


def _on(size: Size, used: tuple[Device, ...], tp: int, pp: int, asked: Asked) -> Fit:
    """The best way on exactly these devices; the preferred one of equals."""
    best: Fit | None = None
    without_graphs = asked.eager is None and len(used) == 1 and used[0].total < size.eager_under
    if without_graphs:
        share = min(CAP, (used[0].free - memory.SPARE) / used[0].total)  # as the recipe ran it, not more
        asked = replace(asked, eager=True, utilization=asked.utilization or max(STEP, int(share / STEP) * STEP))
    for way in _ways(used, asked):
        if without_graphs:
            way = replace(way, most=COMFORTABLE)  # noqa: PLW2901
        found = _try(size, used, tp, pp, asked, way)
        if best is None or (not found.refusal, found.window) > (not best.refusal, best.window):
            best = found
    assert best is not None  # noqa: S101 - there is always the plain way
    return best


@dataclass(frozen=True, slots=True)
class _Way:
    """One setting of what can be traded for memory; `most` caps the window of all but the best."""

    cache: str
    eager: bool
    batch: int
    sequences: int
    most: int | None


def _ways(used: tuple[Device, ...], asked: Asked) -> Iterator[_Way]:
    """Settings to try, the preferred first."""
    smallest = min(device.total for device in used)
    cpu = used[0].kind == "cpu"
    batches = [(SMALL_BATCH, 4 if cpu else 16)]
    if smallest >= LARGE and not cpu:
        batches.insert(0, (16384 if smallest >= LARGEST else 8192, 64))
    for cache, eager in (("auto", False), ("fp8", False), ("auto", True), ("fp8", True)):
        if (cache == "fp8" and not all(device.keeps_fp8 for device in used)) or (cpu and eager):
            continue
        for batch, sequences in batches:
            way = _Way(
                asked.cache or cache,
                eager if asked.eager is None else asked.eager,
                asked.batch or batch,
                asked.sequences or sequences,
                WARN if eager else COMFORTABLE if cache == "fp8" else None,
            )
            yield way


def _try(size: Size, used: tuple[Device, ...], tp: int, pp: int, asked: Asked, way: _Way) -> Fit:
    arch = size.arch
    assert arch is not None  # noqa: S101 - `fit` asked
    cpu = used[0].kind == "cpu"
    graphs = not way.eager and not cpu
    share, budget = _budget(used, graphs=graphs, asked=asked)
    stages = -(-arch.layers // pp) / arch.layers
    weights = int(size.weights * stages / tp)
    working = memory.working(
        arch,
        used[0].kind,
        group=tp * pp,
        batch=way.batch,
        sequences=way.sequences,
        vision=size.vision and not cpu,
        graphs=graphs,
    )
    pool = int((budget - weights - working.total) * memory.USABLE)
    value = 1 if way.cache.startswith("fp8") else 2
    made = Fit(
        size,
        used,
        tp,
        pp,
        0,
        way.sequences,
        way.batch,
        way.cache,
        way.eager,
        share,
        budget,
        weights,
        working,
        max(0, pool),
    )
    total = sum(device.total for device in used)
    if size.minimum > total:
        return replace(
            made,
            refusal=f"its recipe asks for {amounts.of_bytes(size.minimum)}, and {_count(used)} with {amounts.of_bytes(total)}",
        )
    most = max(size.context, asked.window or 0)  # beyond what it was made for is the preflight's to refuse
    sizes = [
        memory.longest(arch, pool, most, conversations=count, tp=tp, pp=pp, value=value, batch=way.batch)
        for count in (1, 2)
    ]
    window = asked.window or max(sizes[1], min(sizes[0], COMFORTABLE))
    if asked.window is None and way.most is not None:
        window = min(window, way.most)
    each = memory.conversation(arch, window, tp=tp, pp=pp, value=value, batch=way.batch) if window else 0
    made = replace(made, window=window, each=each, most=sizes[0])
    left = f"{amounts.of_bytes(weights)} of weights and {amounts.of_bytes(working.total)} of working space leave {amounts.of_bytes(max(0, pool))} of {amounts.of_bytes(budget)}"
    if asked.window is not None and asked.window > sizes[0]:
        return replace(made, refusal=f"a window of {asked.window} tokens does not fit: {left}, enough for {sizes[0]}")
    if asked.window is None and window < min(FLOOR, size.context):
        return replace(made, refusal=f"{left}, enough for a window of {window} tokens; an agent needs {FLOOR}")
    if asked.window is None and window < FLOOR:
        return replace(made, refusal=f"it was made for windows of {size.context} tokens; an agent needs {FLOOR}")
    notes = []
    if window < WARN:
        notes.append(f"a window of {window} tokens is small: Claude Code's first request alone can have 25k")
    return replace(made, notes=tuple(notes))


def _budget(used: tuple[Device, ...], *, graphs: bool, asked: Asked) -> tuple[float, int]:
    """(--gpu-memory-utilization, what it leaves of the tightest GPU); vLLM refuses to start when less is free.

    CUDA graphs are captured outside of that share, so they need room beside it.
    """
    beside = memory.SPARE + (memory.GRAPHS if graphs else 0)
    if used[0].kind == "cpu":
        beside = memory.BESIDE_CPU
    cap = CAP if graphs or used[0].kind == "cpu" else CAP_EAGER
    shares, budgets = [], []
    for device in used:
        share = min(cap, (device.free - beside) / device.total)
        if asked.utilization is not None:
            shares.append(asked.utilization)
            budgets.append(int(asked.utilization * device.total))
        else:
            shares.append(max(0.0, int(share / STEP) * STEP))
            budgets.append(max(0, int((share - STEP) * device.total)))
    return round(min(shares), 3), min(budgets)


def _count(devices: Sequence[Device]) -> str:
    what = "processor" if devices[0].kind == "cpu" else "GPU"
    return f"there is one {what}" if len(devices) == 1 else f"there are {len(devices)} {what}s"
