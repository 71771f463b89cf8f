"""The preflight's findings under the doctor's names: `up` and `doctor` judge by the same functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks import answers
from stackctl.errors import PreflightError
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stackctl.planning import Prepared

# How a preflight finding begins -> the doctor's name for it; the longest that fits counts.
NAMES = {
    "directories": "machine.state-directory",
    "port.": "machine.port-held",
    "address.": "machine.address",
    "memory": "machine.memory",
    "disk": "machine.disk",
    "requirements.disk": "machine.disk",
    "shm": "machine.shm",
    "gpu": "machine.gpu",
    "requirements.driver": "machine.driver",
    "requirements.": "machine.unsuitable",
    "toolchain.engine.malware": "toolchain.malware",
    "toolchain.gateway.malware": "toolchain.malware",
    "toolchain.engine.denied": "toolchain.denied",
    "toolchain.gateway.denied": "toolchain.denied",
    "toolchain.engine.floor.": "toolchain.too-old",
    "toolchain.gateway.floor.": "toolchain.too-old",
    "toolchain.engine.untested": "toolchain.untested",
    "toolchain.gateway.untested": "toolchain.untested",
    "toolchain.": "toolchain.missing",
    "parser.": "configuration.parser-unknown",
    "model.window": "model.window",
    "model.code": "model.code",
}


def named(found: Finding) -> Finding:
    """A finding of the preflight's as the doctor's; one without a name of ours stays as it is."""
    fits = [each for each in NAMES if found.id.startswith(each)]
    return answers.restated(found, NAMES[max(fits, key=len)]) if fits else found


def bad(found: Iterable[Finding]) -> Iterator[Finding]:
    """Those that are not fine, under the doctor's names."""
    for each in found:
        if each.bad:
            yield named(each)


def step(check: Callable[[Prepared], Iterator[Finding]], prepared: Prepared, name: str) -> Iterator[Finding]:
    """One step of the preflight; where it cannot go on, that is the finding `name`."""
    try:
        yield from bad(check(prepared))
    except PreflightError as error:
        yield refused(error, name)


def refused(error: PreflightError, name: str) -> Finding:
    """An error for people as the finding `name`."""
    plain = Finding(name, Status.FAIL, error.message, error.evidence, error.remedy)
    return answers.restated(plain, name)
