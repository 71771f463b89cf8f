"""What runs, on disk: a lock that the supervisor holds for life, and a state file that others read.

The lock (flock) is the truth about *whether* a supervisor lives; the state file says *what* it runs. The file is
written by rename, and is believed only as far as it can be checked: a process is named by pid, start time and boot.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl import __version__, control, files, identity
from stackctl.errors import StackError
from stackctl.identity import Identity
from stackctl.model import ClientFacts, RouteFacts, ServiceKind, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from stackctl.paths import StackPaths

SCHEMA = 1
_LARGEST = 4 * 1024 * 1024  # bytes; a real state file has about two thousand
_SOCKET_ROOM = 107 - 48  # bytes of a unix socket's path (unix(7)), less the name that vLLM puts below its TMPDIR


@dataclass(slots=True)
class ServiceRecord:
    """One service as the state file has it. `since` is unix time in seconds; `leader` is None before it was started.

    `log_from` is the size in bytes that the log had when this start began.
    """

    name: str
    kind: ServiceKind
    state: State
    port: int
    log: str
    model: str = ""
    window: int | None = None
    restarts: int = 0
    since: float = 0.0
    log_from: int = 0
    detail: str = ""
    leader: Identity | None = None
    guard: Identity | None = None
    pgid: int = 0
    sid: int = 0

    @property
    def pid(self) -> int | None:
        """The leader's pid."""
        return None if self.leader is None else self.leader.pid

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the state file."""
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "pid": self.pid,
            "port": self.port,
            "model": self.model,
            "window": self.window,
            "restarts": self.restarts,
            "since": self.since,
            "detail": self.detail,
            "guard": _process(self.guard),
            "pgid": self.pgid,
            "sid": self.sid,
            "start_ticks": None if self.leader is None else self.leader.start_ticks,
            "log": self.log,
            "log_from": self.log_from,
        }

    @classmethod
    def from_json(cls, raw: Any, boot: str) -> Self:
        """Read an entry back; raises ValueError, KeyError or TypeError when it is not one."""
        pid, ticks = raw["pid"], raw["start_ticks"]
        return cls(
            name=_text(raw["name"]),
            kind=ServiceKind(raw["kind"]),
            state=State(raw["state"]),
            port=_number(raw["port"]),
            log=_text(raw["log"]),
            model=_text(raw["model"]),
            window=None if raw["window"] is None else _number(raw["window"]),
            restarts=_number(raw["restarts"]),
            since=float(raw["since"]),
            log_from=_number(raw.get("log_from", 0)),
            detail=_text(raw.get("detail", "")),
            leader=None if pid is None else Identity(_number(pid), _number(ticks), boot),
            guard=_identity(raw["guard"], boot),
            pgid=_number(raw["pgid"]),
            sid=_number(raw["sid"]),
        )


@dataclass(slots=True)
class StackState:
    """The whole state file. `recovered` says that it could not be read and was put together from what was beside it.

    `notice` is what changed under the stack since its start (an updated driver), in words.
    """

    name: str
    plan_digest: str
    gateway_url: str
    supervisor: Identity | None
    state: State = State.STARTING
    tmp: str = ""
    client: ClientFacts | None = None
    services: list[ServiceRecord] = field(default_factory=list)
    verified_at: float | None = None
    failure: dict[str, Any] | None = None
    notice: str = ""
    boot_id: str = ""
    hostname: str = ""
    version: str = __version__
    recovered: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return what is written."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "stackctl": self.version,
            "boot_id": self.boot_id,
            "hostname": self.hostname,
            "supervisor": _process(self.supervisor),
            "state": self.state,
            "plan_digest": self.plan_digest,
            "gateway_url": self.gateway_url,
            "client": None if self.client is None else asdict(self.client),
            "tmp": self.tmp,
            "services": [each.as_json() for each in self.services],
            "verified_at": self.verified_at,
            "failure": self.failure,
            "notice": self.notice,
        }

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read it back; raises ValueError, KeyError or TypeError when it is not one of this schema."""
        if raw["schema"] != SCHEMA:
            raise ValueError(f"schema {raw['schema']}")
        boot = _text(raw["boot_id"])
        return cls(
            name=_text(raw["name"]),
            plan_digest=_text(raw["plan_digest"]),
            gateway_url=_text(raw["gateway_url"]),
            supervisor=_identity(raw["supervisor"], boot),
            state=State(raw["state"]),
            tmp=_text(raw["tmp"]),
            client=None if raw["client"] is None else _client(raw["client"]),
            services=[ServiceRecord.from_json(each, boot) for each in raw["services"]],
            verified_at=None if raw["verified_at"] is None else float(raw["verified_at"]),
            failure=raw["failure"],
            notice=_text(raw.get("notice", "")),
            boot_id=boot,
            hostname=_text(raw["hostname"]),
            version=_text(raw["stackctl"]),
        )

    @property
    def elsewhere(self) -> bool:
        """It was written on another machine that shares this directory: its pids mean nothing here."""
        return self.boot_id != identity.boot_id() and bool(self.hostname) and self.hostname != socket.gethostname()


def _client(raw: Any) -> ClientFacts:
    return ClientFacts(
        url=_text(raw["url"]),
        model=_text(raw["model"]),
        served=_text(raw["served"]),
        window=None if raw["window"] is None else _number(raw["window"]),
        output_limit=_number(raw["output_limit"]),
        timeout=_number(raw["timeout"]),
        routes=tuple(_route(each) for each in raw.get("routes", ())),
    )


def _route(raw: Any) -> RouteFacts:
    return RouteFacts(
        name=_text(raw["name"]),
        model=_text(raw["model"]),
        served=_text(raw["served"]),
        engine=_text(raw["engine"]),
        window=None if raw["window"] is None else _number(raw["window"]),
        output_limit=None if raw["output_limit"] is None else _number(raw["output_limit"]),
        vision=raw["vision"] is True,
        problem=_text(raw["problem"]),
    )


def _process(each: Identity | None) -> dict[str, int] | None:
    return None if each is None else {"pid": each.pid, "start_ticks": each.start_ticks}


def _identity(raw: Any, boot: str) -> Identity | None:
    return None if raw is None else Identity(_number(raw["pid"]), _number(raw["start_ticks"]), boot)


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError("a text is missing")
    return raw


def _number(raw: Any) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not -1 < raw < 1 << 62:
        raise TypeError("a number is missing")
    return raw


# --- the lock -------------------------------------------------------------------------------------------------------


class Lock:
    """The stack's lock, held from `take` to `release` or the end of this process, whatever ends it."""

    def __init__(self, paths: StackPaths) -> None:
        self._path = paths.lock
        self._handle = -1

    def take(self, *, timeout: float = 0.0) -> bool:
        """Take the lock, waiting at most `timeout` seconds; False when someone else holds it."""
        handle = _open_lock(self._path)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline:
                    os.close(handle)
                    return False
                time.sleep(0.02)
            else:
                self._handle = handle
                return True

    def sign(self, me: Identity | None) -> None:
        """Write who holds the lock into it, None for nobody: a hint for people, and for a lost state file."""
        words = b"" if me is None else json.dumps({"boot_id": me.boot_id, **(_process(me) or {})}).encode()
        with contextlib.suppress(OSError):  # a full disk must stop nothing
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, words, 0)

    def in_place(self) -> bool:
        """Say whether the file that we hold is still the one that others would find."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.lstat(self._path))
        except OSError:
            return False

    def renew(self) -> bool:
        """Lock the file that others would find, where somebody removed ours; False when that cannot be (yet)."""
        before, self._handle = self._handle, -1
        try:
            taken = self.take()
        except StackError:
            taken = False
        if taken:
            os.close(before)
        else:
            self._handle = before
        return taken

    def release(self) -> None:
        """Give it back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _open_lock(path: str) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise StackError(f"the lock {path} cannot be opened: {error.strerror}", remedy=f"rm -r {path}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StackError(f"the lock {path} is not a file", remedy=f"rm -r {path}")
    return handle


def is_locked(paths: StackPaths) -> bool:
    """Say whether someone holds the stack's lock."""
    try:
        handle = os.open(paths.lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def signature(paths: StackPaths) -> Identity | None:
    """Return who signed the lock; None when nobody did or it cannot be read."""
    try:
        raw = json.loads(files.read_private(paths.lock))
        return _identity(raw, _text(raw["boot_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def holder(paths: StackPaths) -> Identity | None:
    """Return the living process that holds the stack's lock file open, of those that state or lock name; else None.

    Nothing else may be signalled as "the supervisor": a forged or outdated state file names strangers.
    """
    if not is_locked(paths):
        return lockless(paths)
    state = None
    with contextlib.suppress(OtherVersionError):  # it may be stopped all the same: the lock and the kernel name it
        state = read(paths)
    for each in (signature(paths), None if state is None else state.supervisor, _kernel_says(paths)):
        if each is not None and identity.alive(each) and _has_open(each.pid, paths.lock):
            return each
    return None


def lockless(paths: StackPaths) -> Identity | None:
    """Return the recorded supervisor that lives on although somebody removed its lock file; it holds the removed one.

    It makes a new lock within seconds. Linux only: elsewhere None.
    """
    state = None
    with contextlib.suppress(OtherVersionError):
        state = read(paths)
    if state is None or state.supervisor is None or not identity.alive(state.supervisor):
        return None
    removed = f"{os.path.realpath(paths.lock)} (deleted)"
    pid = state.supervisor.pid
    with contextlib.suppress(OSError):
        for handle in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{handle}") == removed:
                    return state.supervisor
    return None


def _kernel_says(paths: StackPaths) -> Identity | None:
    """Ask the kernel who holds the lock (`/proc/locks`, proc(5))."""
    try:
        inode = os.stat(paths.lock).st_ino
        with open("/proc/locks") as locks:
            for line in locks:
                words = line.split()
                if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
                    return identity.of(int(words[4]))
    except (OSError, ValueError, IndexError):
        pass
    return None


def _has_open(pid: int, path: str) -> bool:
    if not os.path.isdir("/proc/self"):
        return True  # macOS: the lock's signature and the start time have to do
    with contextlib.suppress(OSError):
        wanted = os.stat(path)
        for handle in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{handle}"), wanted):
                    return True
    return False


# --- the state file -------------------------------------------------------------------------------------------------


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
            boots.append(_text(raw["boot_id"]))
            hosts.append(_text(raw["hostname"]))
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


def running(stack: StackPaths | StackState) -> StackState | None:
    """Return the state of a stack whose supervisor lives here; None when none does."""
    if isinstance(stack, StackState):
        return stack if stack.supervisor is not None and identity.alive(stack.supervisor) else None
    state = read(stack)
    if state is None:
        return None
    if not is_locked(stack):
        return None if lockless(stack) is None else state
    if state.supervisor is not None and identity.alive(state.supervisor):
        return state
    owner = holder(stack)  # the file is outdated or forged: the lock knows better
    if owner is None:
        return None
    state.supervisor = owner
    return state


def await_ready(paths: StackPaths, timeout: float) -> ClientFacts | None:
    """Wait until the stack that is being started is ready; None when it went away, or after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        state = running(paths)
        if state is None or state.state in {State.FAILED, State.STOPPING, State.STOPPED}:
            return None
        if state.client is not None:
            return state.client
        time.sleep(0.1)
    return None


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


# --- the services' temporary directory --------------------------------------------------------------------------------


def tmp_dirs(paths: StackPaths) -> tuple[str, ...]:
    """Return where a stack's temporary directory may be: below its root, or somewhere shorter.

    vLLM makes unix sockets below it, whose paths hold 107 bytes at most. The names follow from the stack alone, so
    that nobody has to believe a state file about what to delete.
    """
    short = f"stackctl-{os.getuid()}-{hashlib.sha256(os.fsencode(paths.root)).hexdigest()[:12]}"
    return paths.tmp, f"/run/user/{os.getuid()}/{short}", f"/tmp/{short}"  # noqa: S108 - 0700, and checked to be ours


def tmp_path(paths: StackPaths) -> str:
    """Return the services' TMPDIR of this stack; it need not be there yet."""
    choice, *shorter = tmp_dirs(paths)
    if len(os.fsencode(choice)) > _SOCKET_ROOM:
        choice = next((each for each in shorter if os.access(os.path.dirname(each), os.W_OK)), choice)
    return choice


def make_tmp(paths: StackPaths) -> str:
    """Make the services' TMPDIR (mode 0700, ours) and return it. Raises PreflightError when it is someone else's."""
    files.private_dir(paths.root)
    return files.private_dir(tmp_path(paths))


def remove_tmp(paths: StackPaths) -> bool:
    """Remove the temporary directory and all below it, following no symlink; True when there was one."""
    removed = False
    for top in tmp_dirs(paths):
        try:
            facts = os.lstat(top)
        except OSError:
            continue
        if facts.st_uid != os.geteuid() or os.path.islink(top):
            continue
        removed = True
        for _, directories, names, here in os.fwalk(top, topdown=False, follow_symlinks=False):
            for name in [*names, *directories]:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=here)
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=here)
        with contextlib.suppress(OSError):
            os.rmdir(top)
    return removed


# --- what a dead supervisor left ------------------------------------------------------------------------------------


def mark_of(paths: StackPaths) -> str:
    """Return how the mark of every process of this stack ends."""
    return f"@{os.path.realpath(paths.root)}"


def reconcile(paths: StackPaths) -> list[str]:
    """Bring the records and what lives into line when no supervisor does; return what was done, in words.

    Survivors that are proven to be this stack's are killed, the temporary directory and the state are removed. A
    stack that runs, or that another machine recorded, is left alone.
    """
    if not os.path.isdir(paths.root) or lockless(paths) is not None:
        return []
    lock = Lock(paths)
    if not lock.take():
        return []
    try:
        return reconcile_locked(paths, lock)
    finally:
        lock.release()


def reconcile_locked(paths: StackPaths, lock: Lock) -> list[str]:
    """Do what `reconcile` does, by the one who holds the lock."""
    from stackctl import survivors

    state = read(paths, locked_by_us=True)
    leftover = [each for each in tmp_dirs(paths) if os.path.lexists(each)]
    if state is None and not leftover and os.path.getsize(paths.lock) == 0:
        return []
    if state is not None and state.elsewhere:
        return [f"the stack `{paths.name}` was started on {state.hostname}; left alone"]
    killed, stuck = survivors.kill(mark=mark_of(paths), log=os.path.realpath(paths.logs) + os.sep)
    did = []
    if killed:
        noun = "process" if killed == 1 else "processes"
        did.append(f"killed {killed} {noun} that a dead supervisor had left")
    if stuck:
        pids = ", ".join(map(str, stuck))
        did.append(f"could not kill {pids}: the kernel holds them (a driver, a network file system)")
    elif state is not None:
        did.append("removed the state of a stack that no longer runs")
    if remove_tmp(paths):
        did.append("removed its temporary files")
    if not stuck:
        clear(paths)
        lock.sign(None)
    return did
