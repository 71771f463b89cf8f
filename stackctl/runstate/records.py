"""The state file as types, and back: nothing that it says is believed before its shape was checked."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl import __version__, identity
from stackctl.identity import Identity
from stackctl.model import ClientFacts, RouteFacts, ServiceKind, State

if TYPE_CHECKING:
    from typing import Self

SCHEMA = 1


@dataclass(slots=True)
class ServiceRecord:
    """One service as the state file has it. `since` is unix time in seconds; `leader` is None before it was started.

    `requested` is how many of the `restarts` somebody asked for; the others followed a death.
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
    requested: int = 0
    detail: str = ""
    leader: Identity | None = None
    guard: Identity | None = None
    pgid: int = 0
    sid: int = 0

    @property
    def pid(self) -> int | None:
        """The leader's pid."""
        return None if self.leader is None else self.leader.pid

    @property
    def deaths(self) -> int:
        """How many restarts nobody asked for."""
        return max(0, self.restarts - self.requested)

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
            "requested": self.requested,
            "since": self.since,
            "detail": self.detail,
            "guard": process_of(self.guard),
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
            name=text_of(raw["name"]),
            kind=ServiceKind(raw["kind"]),
            state=State(raw["state"]),
            port=number_of(raw["port"]),
            log=text_of(raw["log"]),
            model=text_of(raw["model"]),
            window=None if raw["window"] is None else number_of(raw["window"]),
            restarts=number_of(raw["restarts"]),
            requested=number_of(raw.get("requested", 0)),
            since=float(raw["since"]),
            log_from=number_of(raw.get("log_from", 0)),
            detail=text_of(raw.get("detail", "")),
            leader=None if pid is None else Identity(number_of(pid), number_of(ticks), boot),
            guard=identity_of(raw["guard"], boot),
            pgid=number_of(raw["pgid"]),
            sid=number_of(raw["sid"]),
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
            "supervisor": process_of(self.supervisor),
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
        boot = text_of(raw["boot_id"])
        return cls(
            name=text_of(raw["name"]),
            plan_digest=text_of(raw["plan_digest"]),
            gateway_url=text_of(raw["gateway_url"]),
            supervisor=identity_of(raw["supervisor"], boot),
            state=State(raw["state"]),
            tmp=text_of(raw["tmp"]),
            client=None if raw["client"] is None else _client(raw["client"]),
            services=[ServiceRecord.from_json(each, boot) for each in raw["services"]],
            verified_at=None if raw["verified_at"] is None else float(raw["verified_at"]),
            failure=raw["failure"],
            notice=text_of(raw.get("notice", "")),
            boot_id=boot,
            hostname=text_of(raw["hostname"]),
            version=text_of(raw["stackctl"]),
        )

    @property
    def elsewhere(self) -> bool:
        """It was written on another machine that shares this directory: its pids mean nothing here."""
        return self.boot_id != identity.boot_id() and bool(self.hostname) and self.hostname != socket.gethostname()


def _client(raw: Any) -> ClientFacts:
    return ClientFacts(
        url=text_of(raw["url"]),
        model=text_of(raw["model"]),
        served=text_of(raw["served"]),
        window=None if raw["window"] is None else number_of(raw["window"]),
        output_limit=number_of(raw["output_limit"]),
        timeout=number_of(raw["timeout"]),
        vision=raw.get("vision") if isinstance(raw.get("vision"), bool) else None,
        routes=tuple(_route(each) for each in raw.get("routes", ())),
    )


def _route(raw: Any) -> RouteFacts:
    return RouteFacts(
        name=text_of(raw["name"]),
        model=text_of(raw["model"]),
        served=text_of(raw["served"]),
        engine=text_of(raw["engine"]),
        window=None if raw["window"] is None else number_of(raw["window"]),
        output_limit=None if raw["output_limit"] is None else number_of(raw["output_limit"]),
        vision=None if raw["vision"] is None else bool(raw["vision"]),
        problem=text_of(raw["problem"]),
    )


def process_of(each: Identity | None) -> dict[str, int] | None:
    """What the file says of a process."""
    return None if each is None else {"pid": each.pid, "start_ticks": each.start_ticks}


def identity_of(raw: Any, boot: str) -> Identity | None:
    """Read it back."""
    return None if raw is None else Identity(number_of(raw["pid"]), number_of(raw["start_ticks"]), boot)


def text_of(raw: Any) -> str:
    """A text; raises TypeError for anything else."""
    if not isinstance(raw, str):
        raise TypeError("a text is missing")
    return raw


def number_of(raw: Any) -> int:
    """A whole number that is not negative; raises TypeError for anything else."""
    if not isinstance(raw, int) or isinstance(raw, bool) or not -1 < raw < 1 << 62:
        raise TypeError("a number is missing")
    return raw
