"""The table of a run, the bars, and docs/FAULTS.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.corpus import Fault
    from tests.faults.judge import Verdict

SECONDS = {"static": 2.0, "live": 20.0, "real": 20.0}


def line(verdict: Verdict) -> str:
    """One trial on one line."""
    mark = "ok  " if verdict.right and not verdict.error else "MISS"
    repaired = {None: "", True: " repaired", False: f" NOT repaired: {', '.join(verdict.left)}"}[verdict.repaired]
    more = f" also {', '.join(verdict.extra)}" if verdict.extra else ""
    error = f" ! {verdict.error}" if verdict.error else ""
    return f"{mark} {verdict.id:<34} {verdict.first or '-':<34} {verdict.seconds:5.1f} s{repaired}{more}{error}"


def bars(rows: Sequence[Fault], found: Sequence[Verdict], well: Sequence[Verdict]) -> list[tuple[str, str, bool]]:
    """Each bar: what, how much, and whether it is passed."""
    total = len(found) or 1
    right = sum(each.right for each in found)
    hop = sum(each.hop for each in found)
    single = sum(not each.extra and not each.error for each in found)
    repaired = sum(bool(each.repaired) for each in found)
    able = [each for row, each in zip(rows, found, strict=True) if row.fix]
    slow = [each.id for each in found if each.seconds > SECONDS[each.kind]]
    made = [
        (f"right cause first: {right} of {len(found)} ({100 * right / total:.1f} %; bar 95 %)", right >= 0.95 * total),
        (f"right hop: {hop} of {len(found)} ({100 * hop / total:.1f} %; bar 95 %)", hop >= 0.95 * total),
        (
            f"nothing else blamed: {single} of {len(found)} ({100 * single / total:.1f} %; bar 90 %)",
            single >= 0.9 * total,
        ),
        (
            (
                f"repaired by --fix: {repaired} of the {len(able)} that a program on this machine can repair"
                f" ({100 * repaired / (len(able) or 1):.1f} %; bar 60 %), {100 * repaired / total:.1f} % of all"
            ),
            repaired >= 0.6 * len(able),
        ),
        (f"in time (static 2 s, live 20 s): all but {', '.join(slow) or 'none'}", not slow),
    ]
    if well:
        healthy = sum(each.right for each in well)
        made.append((f"healthy stacks without a word: {healthy} of {len(well)}", healthy == len(well)))
    return [("passed" if good else "MISSED", text, good) for text, good in made]


def made(
    rows: Sequence[Fault], found: Sequence[Verdict], well: Sequence[Verdict], seconds: float
) -> tuple[str, list[str]]:
    """The end of a run for people, and the bars that were missed."""
    checked = bars(rows, found, well)
    lines = [
        "",
        *(line(each) for each in found if not each.right or each.extra or each.error or each.repaired is False),
        "",
    ]
    lines += [f"{mark}  {text}" for mark, text, _ in checked]
    lines.append(f"{len(found)} faults, {len(well)} healthy stacks, {seconds:.0f} s")
    return "\n".join(lines), [text for _, text, good in checked if not good]


def document(rows: Sequence[Fault], found: Sequence[Verdict], well: Sequence[Verdict]) -> str:
    """docs/FAULTS.md."""
    checked = bars(rows, found, well)
    lines = [
        "# The fault corpus of `stackctl doctor`",
        "",
        "Written by `make faults`: each row is a real stack broken in exactly one way (static: files and settings; live: the",
        "scripted engine behind real LiteLLM or alone; real: real vLLM or real Claude Code), and what doctor said of it.",
        "",
        *(f"- {text}" for _, text, _ in checked),
        "",
        "| healthy stack | said against it | seconds |",
        "|---|---|---|",
        *(
            f"| {each.id.removeprefix('healthy-')} | {', '.join(each.extra) or each.error or 'nothing'} | {each.seconds:.1f} |"
            for each in well
        ),
        "",
        "| fault | kind | what is broken | blamed | right | also blamed | seconds | `--fix` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    words = {None: "-", True: "repaired", False: "not repaired"}
    for row, each in zip(rows, found, strict=True):
        cells = [
            row.id, row.kind, row.breaks, f"`{each.first}`" if each.first else "nothing", "yes" if each.right else "no",
            ", ".join(f"`{one}`" for one in each.extra) or "-", f"{each.seconds:.1f}", words[each.repaired],
        ]  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
