"""An order to a supervisor: all that it needs to run a stack, as data; and the detached process that carries one out.

    python -m stackctl.supervise EVENTS < order.json

Light: this is what lives on beside the model for weeks. The order holds keys, so it travels through a pipe, never in
a file or in argv. EVENTS is the descriptor of a pipe for JSON lines; nobody need listen.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl import blame, driver, files, keys_file, rendered
from stackctl.errors import StackError
from stackctl.model import ClientFacts, Probe, ProcessSpec, ServiceKind, State, Work
from stackctl.paths import StackPaths
from stackctl.rendered import RenderedFile
from stackctl.supervisor import AlreadyRunning, Ended, Event, Ready, ServiceChanged, Stopping, Supervisor
from stackctl.verify import Target, verify

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: the services, what proves them, and the files to write once the stack's lock is held."""

    name: str
    digest: str
    gateway_url: str
    specs: tuple[ProcessSpec, ...]
    target: Target
    files: tuple[RenderedFile, ...]
    ports: dict[str, Any]  # to be recorded, and kept
    config: str | None  # the file that it came from
    chosen: dict[str, str] = field(default_factory=dict)  # what flags and variables said over that file

    def as_json(self) -> str:
        """The order as text, keys included."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, raw: str | bytes) -> Order:
        """Read it back."""
        data: dict[str, Any] = json.loads(raw)
        specs = tuple(
            ProcessSpec(
                **{
                    **each,
                    "kind": ServiceKind(each["kind"]),
                    "argv": tuple(each["argv"]),
                    "ready": Probe(**each["ready"]),
                    "work": _work(each["work"]),
                    "after": tuple(each["after"]),
                }
            )
            for each in data["specs"]
        )
        target = Target.from_data(data["target"])
        written = tuple(RenderedFile(**each) for each in data["files"])
        return cls(
            name=data["name"],
            digest=data["digest"],
            gateway_url=data["gateway_url"],
            specs=specs,
            target=target,
            files=written,
            ports=data["ports"],
            config=data["config"],
            chosen=data["chosen"],
        )


def _work(raw: dict[str, Any] | None) -> Work | None:
    if raw is None:
        return None
    return Work(Probe(**raw["counters"]), tuple(raw["progress"]), Probe(**raw["request"]))


def supervisor(order: Order, on_event: Callable[[Event], None]) -> Supervisor:
    """The supervisor that carries out `order`."""
    paths = StackPaths(order.name)

    def write() -> None:
        if keys_file.read(paths) not in {None, order.target.client_key}:
            raise StackError("the client key was replaced while the stack was being started", remedy="stackctl up")
        files.write_private(paths.ports, json.dumps({**order.ports, "config": order.config, "chosen": order.chosen}))
        rendered.write(order.files, paths.gateway_dir)

    return Supervisor(
        paths,
        order.digest,
        order.specs,
        gateway_url=order.gateway_url,
        on_event=on_event,
        verify=lambda: _proved(order),
        prepare=write,
        notice=driver.Watch().notice,
    )


def _proved(order: Order) -> ClientFacts:
    """`verify`; where it fails, doctor is asked who is to blame while everything is still up."""
    try:
        return verify(order.target)
    except StackError as error:
        raise blame.explained(error, order.name, order.config) from error


# --- events as lines ------------------------------------------------------------------------------------------------


def line(event: Event | Ended) -> str:
    """An event as one JSON line; empty for those that nobody needs from afar (ticks)."""
    if isinstance(event, Ended):
        error = event.error
        plain = {name: value for name in Ended.__slots__ if name != "error" for value in (getattr(event, name),)}
        failed = None if error is None else [error.message, error.remedy, list(error.evidence)]
        return json.dumps({"event": "ended", **plain, "error": failed}) + "\n"
    if isinstance(event, (ServiceChanged, Stopping)):
        return json.dumps({"event": type(event).__name__, **asdict(event)}) + "\n"
    if isinstance(event, Ready):
        return json.dumps({"event": "Ready", "client": asdict(event.client)}) + "\n"
    return ""


def parse(text: str) -> Event | Ended | None:
    """Read an event back; None when the stack already runs below another supervisor."""
    data: dict[str, Any] = json.loads(text)
    kind = data.pop("event")
    if kind == "ServiceChanged":
        return ServiceChanged(data["name"], State(data["state"]), data["detail"])
    if kind == "Stopping":
        return Stopping(**data)
    if kind == "Ready":
        return Ready(ClientFacts.from_data(data["client"]))
    if kind == "already":
        return None
    failed = data.pop("error")
    error = None if failed is None else StackError(failed[0], remedy=failed[1], evidence=tuple(failed[2]))
    return Ended(
        **{
            **data,
            "state": State(data["state"]),
            "tail": tuple(data["tail"]),
            "stuck": tuple(data["stuck"]),
            "error": error,
        }
    )


def main() -> None:
    """Carry out the order on stdin."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # no terminal is ours, whatever a closing one signals
    order = Order.from_json(sys.stdin.buffer.read())
    listener: int | None = int(sys.argv[1])

    def tell(text: str, *, last: bool = False) -> None:
        nonlocal listener
        if listener is None:
            return
        try:
            if text:
                os.write(listener, text.encode())
        except OSError:  # nobody listens any more
            last = True
        if last:
            os.close(listener)
            listener = None

    try:
        ended = supervisor(order, lambda event: tell(line(event), last=isinstance(event, Ready))).run()
    except AlreadyRunning:
        tell('{"event": "already"}\n', last=True)
    except StackError as error:
        tell(line(Ended(State.FAILED, reason=error.message, error=error)), last=True)
    else:
        tell(line(ended), last=True)


if __name__ == "__main__":
    main()
