"""The table of a run, the bars, and docs/FAULTS.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.corpus import Fault
    from tests.faults.judge import Verdict

WELL = {  # the healthy stacks by name
    "files": "a configuration and a model, nothing runs",
    "litellm": "LiteLLM in front of an engine",
    "direct": "an engine alone (`gateway.kind: direct`)",
    "two": "two engines, with routes",
    "remote": "a remote engine",
    "hosted": "two engines and a hosted route (a stand-in for the provider)",
    "url": "an engine that somebody else started (`--url`)",
    "hand": "a hand-made LiteLLM (`-c litellm_config.yaml --url`)",
}
SECONDS = {"static": 2.0, "live": 20.0, "real": 20.0}


def line(verdict: Verdict) -> str:
    """One trial on one line."""
    mark = "ok  " if verdict.right and not verdict.error else "MISS"
    repaired = {None: "", True: " repaired", False: f" NOT repaired: {', '.join(verdict.left)}"}[verdict.repaired]
    more = f" also {', '.join(verdict.extra)}" if verdict.extra else ""
    error = f" ! {verdict.error}" if verdict.error else ""
    return f"{mark} {verdict.id:<34} {verdict.first or '-':<34} {verdict.seconds:5.1f} s{repaired}{more}{error}"


def bars(rows: Sequence[Fault], found: Sequence[Verdict], well: Sequence[Verdict]) -> list[tuple[str, str, bool]]:
    """Each bar: what, how much, and whether it is passed. A trial that broke off is a miss of every one of them."""
    whole = [each for each in found if not each.error]
    slow = [each.id for each in found if each.seconds > SECONDS[each.kind]]
    able = sum(row.fix for row in rows)
    repaired = sum(bool(each.repaired) for each in whole)
    said, enough = _share("repaired by --fix", repaired, len(found), 60)
    made = [
        _share("right cause first", sum(each.right for each in whole), len(found), 95),
        _share("right hop", sum(each.hop for each in whole), len(found), 95),
        _share("nothing else blamed", sum(not each.extra for each in whole), len(found), 90),
        (f"{said}; of the {able} that a program on this machine can repair {_percent(repaired, able):.1f} %", enough),
        (f"in time (static 2 s, live 20 s): all{' but ' + ', '.join(slow) if slow else ''}", not slow),
    ]
    if well:
        healthy = sum(each.right and not each.error for each in well)
        made.append((f"healthy stacks without a word: {healthy} of {len(well)}", healthy == len(well)))
    return [("passed" if good else "MISSED", text, good) for text, good in made]


def _share(what: str, count: int, total: int, bar: int) -> tuple[str, bool]:
    """`count` of all the faults against a bar in percent of all."""
    share = _percent(count, total)
    return f"{what}: {count} of {total} ({share:.1f} %; bar {bar} %)", share >= bar


def _percent(count: int, total: int) -> float:
    return 100 * count / (total or 1)


def made(
    rows: Sequence[Fault], found: Sequence[Verdict], well: Sequence[Verdict], seconds: float
) -> tuple[str, list[str]]:
    """The end of a run for people, and the bars that were missed."""
    checked = bars(rows, found, well)
    lines = [
        "",
        *(line(each) for each in (*well, *found) if short(each)),
        "",
    ]
    lines += [f"{mark}  {text}" for mark, text, _ in checked]
    lines.append(f"{len(found)} faults, {len(well)} healthy stacks, {seconds:.0f} s")
    return "\n".join(lines), [text for _, text, good in checked if not good]


def short(verdict: Verdict) -> bool:
    """Whether a trial came out other than it should."""
    return bool(not verdict.right or verdict.extra or verdict.error or verdict.repaired is False)


def document(rows: Sequence[Fault], found: Sequence[Verdict], well: Sequence[Verdict]) -> str:
    """docs/FAULTS.md."""
    checked = bars(rows, found, well)
    spent = {True: 0.0, False: 0.0}
    for each in (*well, *found):
        spent[each.kind == "live" or (each.kind == "healthy" and each.id != "healthy-files")] += each.took
    lines = [
        "# The fault corpus of `stackctl doctor`",
        "",
        "Written by `make faults`: each row is a real stack broken in exactly one way (static: files and settings; live: the",
        "scripted engine behind real LiteLLM or alone; real: real vLLM or real Claude Code), and what doctor said of it.",
        "",
        "Repaired means: after `doctor --fix --yes` doctor has nothing against it any more (a shell's variables: after",
        '`eval "$(stackctl doctor --fix --shell sh)"` in it). A LiteLLM that the user runs is started again by the test, where',
        "doctor said that this alone was left to do.",
        "",
        *(f"- {text}" for _, text, _ in checked),
        f"- all of it took {max(spent[True], spent[False]) / 60:.0f} minutes (bar 30), those of running stacks beside the others",
        "",
        "| healthy stack | said against it | seconds |",
        "|---|---|---|",
        *(
            f"| {WELL[each.id.removeprefix('healthy-')]} | {', '.join(each.extra) or each.error or 'nothing'} | {each.seconds:.1f} |"
            for each in well
        ),
        "",
        "| fault | kind | what is broken | blamed | right | also blamed | seconds | `--fix` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    words = {None: "-", True: "repaired", False: "not repaired"}
    for row, each in zip(rows, found, strict=True):
        cells = [
            row.id, row.kind, row.breaks, f"`{each.first}`" if each.first else "nothing",
            "yes" if each.right and not each.error else "no",
            ", ".join(f"`{one}`" for one in each.extra) or "-", f"{each.seconds:.1f}", words[each.repaired],
        ]  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
