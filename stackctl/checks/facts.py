"""Everything that doctor's checks look at, gathered once. Nothing is changed, and what is broken is kept as an error."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from stackctl import addresses, config, host, keys_file, logtext, names, planning, redact, runstate
from stackctl.checks import as_started, litellm_file
from stackctl.checks import lanes as found_lanes
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.checks.factsheet import Facts
from stackctl.errors import ConfigError, StackError
from stackctl.hub.cache import cache_dir
from stackctl.keys import PREFIX as KEY_PREFIX
from stackctl.paths import StackPaths
from stackctl.runstate import lastfailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackctl.config import Flags, Loaded
    from stackctl.runstate import StackState

_HEALS = 5.0  # seconds in which a supervisor that lives has written its state file, or its spoilt one anew
_AGAIN = 0.1

__all__ = ["Endpoint", "Facts", "Lane", "gather"]


def gather(
    flags: Flags,
    *,
    url: str | None = None,
    litellm_config: str | None = None,
    key: str | None = None,
    environ: Mapping[str, str],
    static: bool,
) -> Facts:
    """Look at everything side by side. Never raises for what is broken: that is what the checks are for.

    `url` is any server, `litellm_config` a hand-written file of LiteLLM's; then no stack is looked at.
    """
    look = _Look(flags, environ, static=static, url=url, file=litellm_config, key=key)
    threads = [threading.Thread(target=look.guarded, args=(each,), daemon=True) for each in look.steps()]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return look.facts()


class _Look:
    """The looking itself: each step writes what it alone found."""

    def __init__(
        self,
        flags: Flags,
        environ: Mapping[str, str],
        *,
        static: bool,
        url: str | None,
        file: str | None,
        key: str | None,
    ) -> None:
        self._found: dict[str, Any] = {
            "environ": dict(environ),
            "home": environ.get("HOME") or os.path.expanduser("~"),
            "cwd": _cwd(),
            "flags": flags,
            "static": static,
            "url_target": url,
            "hand_file": file,
            "began": time.monotonic(),
        }
        self._key = key
        self._keys: dict[str, str] = {}  # of the processes that run, by variable
        self._secrets: set[str] = set()
        self._machine = threading.Event()  # the host is known
        self._known = threading.Event()  # the record of the stack is known

    def steps(self) -> list[Callable[[], None]]:
        if self._found["hand_file"] is not None:
            return [self._host, self._hand]
        if self._found["url_target"] is not None:
            return [self._host]
        return [self._host, self._configuration, self._recorded]

    def guarded(self, step: Callable[[], None]) -> None:
        """Take a step; one that breaks on what it finds is a finding, and no traceback."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is
            said = f"looking broke, which is a fault of stackctl's own: {type(error).__name__}: {error}"
            self._found.setdefault("load_error", StackError(said, remedy="report it:  stackctl doctor --report FILE"))

    def _host(self) -> None:
        try:
            self._found["host"] = host.inspect(cache_dir())
        except Exception:  # noqa: BLE001 - a machine that cannot be read is no reason to stop
            self._found["host"] = None
        finally:
            self._machine.set()

    def _configuration(self) -> None:
        self._known.wait()
        if self._found.get("state") is not None or "state_error" in self._found:
            self._found["flags"] = as_started.source(self._found["flags"], self._found["paths"], self._found["environ"])
        try:
            loaded = config.load(self._found["flags"], self._found["environ"])
        except (StackError, OSError) as error:
            self._found["load_error"] = error if isinstance(error, StackError) else StackError(str(error))
            return
        self._found["loaded"] = loaded
        self._machine.wait()
        if self._found["host"] is None:
            return
        self._plan(loaded, ask=not self._found["static"])
        # Its gateway may know a key that this shell does not.
        if self._found.get("running") and "prepared" not in self._found:
            self._plan(loaded, ask=False)

    def _plan(self, loaded: Loaded, *, ask: bool) -> None:
        self._found.pop("prepare_error", None)
        try:
            self._found["prepared"] = planning.decide(loaded, self._found["host"], ask=ask)
        except StackError as error:
            self._found["prepare_error"] = error
        except OSError as error:
            self._found["prepare_error"] = StackError(f"{error.strerror}: {error.filename}")

    def _recorded(self) -> None:
        try:
            self._record()
        finally:
            self._known.set()

    def _record(self) -> None:
        flags: Flags = self._found["flags"]
        try:
            paths = StackPaths(names.stack_name(flags.name, flags.config, self._found["environ"]))
        except (StackError, OSError) as error:
            self._found["paths_error"] = error if isinstance(error, StackError) else StackError(str(error))
            return
        self._found["paths"] = paths
        try:
            self._found["client_key"] = keys_file.read(paths)
        except StackError as error:
            self._found["client_key_error"] = error
        try:
            state = _recorded_state(paths)
        except StackError as error:
            self._found["state_error"] = error
            state = None
        self._found["state"] = state
        self._found["failed"] = lastfailure.noted(paths)
        self._found["running"] = state is not None and runstate.is_locked(paths) and runstate.running(state) is not None
        for each in state.services if state is not None and self._found["running"] else []:
            if each.pid is not None:
                keys = redact.secrets_by_name(each.pid)
                self._keys |= keys
                self._secrets |= {*keys.values()}
                if state is not None and each.port == addresses.parts(state.gateway_url).port:
                    self._compare(paths, keys.get("STACKCTL_CLIENT_KEY") or keys.get("VLLM_API_KEY") or "")
        self._found["logs"] = _logs(paths, state if self._found["running"] else None)

    def _compare(self, paths: StackPaths, asked: str) -> None:
        """The key in the file is the one that the gateway, which read it at its start, still asks for."""
        if asked.startswith(KEY_PREFIX) and self._found.get("client_key") not in {None, asked}:
            said = f"the key file {paths.client_key} holds another key than the gateway was started with"
            self._found["client_key_error"] = StackError(said)
            self._secrets.add(self._found.pop("client_key"))

    def _hand(self) -> None:
        path = os.path.abspath(self._found["hand_file"])
        try:
            self._found["hand_config"] = litellm_file.read(path)
        except ConfigError as error:
            self._found["load_error"] = error

    def facts(self) -> Facts:
        """The facts, with the lanes that follow from them."""
        found = self._found
        environ = found["environ"]
        secrets = {*redact.secrets_in(environ), *self._secrets}
        secrets |= {each for each in (self._key, found.get("client_key")) if each}
        found["secrets"] = frozenset(secrets)
        found["lanes"] = lanes = found_lanes.build(Facts(**found), key=self._key, keys=self._keys)
        ends = [end for lane in lanes for end in (lane.engine, lane.gateway) if end is not None]
        found["secrets"] |= {end.key for end in ends if end.key}  # what a LiteLLM of somebody's was started with
        return Facts(**found)


def _recorded_state(paths: StackPaths) -> StackState | None:
    """The recorded state. A supervisor that lives writes it soon after its start, and anew within a second when it was
    spoilt: then nothing is broken. Raises StackError.
    """
    deadline = time.monotonic() + _HEALS
    while True:
        waits = time.monotonic() < deadline and runstate.is_locked(paths)
        try:
            state = runstate.peek(paths)
            if not waits or (state is not None and runstate.running(state) is not None):
                return state
        except StackError:
            if not waits:
                raise
        time.sleep(_AGAIN)


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return "/"


def _logs(paths: StackPaths, state: StackState | None) -> dict[str, str]:
    """The ends of the logs by service; of a run that goes on, only what it wrote itself."""
    starts = {each.name: each.log_from for each in state.services} if state is not None else {}
    found = {}
    try:
        files = sorted(os.listdir(paths.logs))
    except OSError:
        return {}
    for file in files:
        name, ending = os.path.splitext(file)
        if ending != ".log":
            continue
        try:
            found[name] = logtext.tail(os.path.join(paths.logs, file), start=starts.get(name, 0))
        except OSError:
            continue
    return found
