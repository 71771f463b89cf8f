"""The state file on disk: written by rename, read with suspicion, put together from the records beside it when lost."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import TYPE_CHECKING

from stackctl import __version__, control, files, identity
from stackctl.errors import StackError
from stackctl.model import State
from stackctl.runstate.lock import is_locked, signature
from stackctl.runstate.records import SCHEMA, ServiceRecord, StackState, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.paths import StackPaths

_LARGEST = 4 * 1024 * 1024  # bytes; a real state file has about two thousand


def _records(paths: StackPaths) -> str:
    return os.path.join(paths.root, "services")


def write(paths: StackPaths, state: StackState) -> None:
    """Write the state file. Raises OSError (a full disk); the file of before is then still whole."""
    files.write_private(paths.state, json.dumps(state.as_json(), indent=1) + "\n")


def write_record(paths: StackPaths, service: ServiceRecord) -> None:
    """Write what was just started beside the state file, so that it is found when that is lost. Raises OSError."""
    directory = files.private_dir(_records(paths))
    record = {"boot_id": identity.boot_id(), "hostname": socket.gethostname(), "service": service.as_json()}
    files.write_private(os.path.join(directory, f"{service.name}.json"), json.dumps(record) + "\n")


class OtherVersionError(StackError):
    """A supervisor of another version of stackctl runs the stack, and wrote a state that this one cannot read."""

    def __init__(self, paths: StackPaths, version: object) -> None:
        option = "" if paths.name == "default" else f" --name {paths.name}"  # `names` may load YAML: too heavy here
        super().__init__(
            f"the stack `{paths.name}` runs below another version of stackctl ({version}; this is {__version__}),"
            " whose state this one does not read; it was left running",
            remedy=f"stackctl restart{option}   (it works across versions, as stackctl down does)",
        )


def read(paths: StackPaths, *, locked_by_us: bool = False) -> StackState | None:
    """Return the recorded state; None when nothing is recorded.

    A file that cannot be used is renamed to `state.json.corrupt-<time>`, and what can be known is put together from
    the records beside it. Raises OtherVersionError when another version of stackctl that is still running wrote it;
    `locked_by_us` says that the lock which is held means no such supervisor.
    """
    try:
        raw = _read_bounded(paths.state)
    except FileNotFoundError:
        return _recover(paths)
    except OSError:
        return _quarantine(paths)
    try:
        content = json.loads(raw)
        schema = content["schema"]
        if isinstance(schema, int) and schema != SCHEMA and not locked_by_us and is_locked(paths):
            raise OtherVersionError(paths, content.get("stackctl"))
        return StackState.from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _quarantine(paths)


def peek(paths: StackPaths) -> StackState | None:
    """Return the recorded state and change nothing; None when nothing is recorded. Raises StackError for a bad file."""
    try:
        return StackState.from_json(json.loads(_read_bounded(paths.state)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StackError(f"the state file {paths.state} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StackError(f"the state file {paths.state} is not one of this version's") from error


def _read_bounded(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not block us
    with os.fdopen(handle, "rb") as stream:
        raw = stream.read(_LARGEST + 1) or b""
    if len(raw) > _LARGEST:
        raise OSError("too large")
    return raw


def _quarantine(paths: StackPaths) -> StackState | None:
    with contextlib.suppress(OSError):
        os.rename(paths.state, f"{paths.state}.corrupt-{time.time_ns()}")
        _thin_out(paths)
    return _recover(paths)


def _thin_out(paths: StackPaths) -> None:
    """Keep the newest three corrupt files: evidence, not a collection."""
    base = os.path.basename(paths.state) + ".corrupt-"
    kept = sorted(name for name in os.listdir(paths.root) if name.startswith(base))
    for name in kept[:-3]:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(paths.root, name))


def _recover(paths: StackPaths) -> StackState | None:
    services, boots, hosts = [], [], []
    try:
        names = sorted(os.listdir(_records(paths)))
    except OSError:
        names = []
    for name in names:
        try:
            raw = json.loads(files.read_private(os.path.join(_records(paths), name)))
            boots.append(text_of(raw["boot_id"]))
            hosts.append(text_of(raw["hostname"]))
            services.append(ServiceRecord.from_json(raw["service"], boots[-1]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    signed = signature(paths)
    if not services and signed is None:
        return None
    return StackState(
        paths.name,
        plan_digest="",
        gateway_url="",
        supervisor=signed,
        state=State.UNREADY,
        services=services,
        boot_id=boots[0] if boots else (signed.boot_id if signed else ""),
        hostname=hosts[0] if hosts else "",
        recovered=True,
    )


def clear(paths: StackPaths) -> None:
    """Remove the state file and the records; the caller holds the lock and has seen the tree empty."""
    halves = [each for each in _files_in(paths.root) if each.startswith(paths.state + ".") and each.endswith(".tmp")]
    for path in [paths.state, control.path(paths), *halves, *_files_in(_records(paths))]:
        with contextlib.suppress(OSError):
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(_records(paths))


def _files_in(directory: str) -> Sequence[str]:
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory)]
    except OSError:
        return []
