"""docs/RELIABILITY.md, measured: our drills, and the same faults made to supervisord, circus and honcho.

    python -m tests.bench.reliability [--only TOOL ...]       (`make reliability`; about ten minutes)

Every tool runs the same stand-in shaped like vLLM (tests/fakes/service.py: API server -> EngineCore -> Worker) and gets
the same faults by the same code. The others come from the package registry, into a directory that is removed again, with
the settings that their manuals recommend for process trees. The second table is what `make drills` measured last
(build/drills.json; REAL=1 for the rows on real vLLM). What was measured is kept in build/reliability.json, so that one
tool can be measured again alone; with `--none` the document is only written anew.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackctl import identity
from tests.drills import table
from tests.drills.harness import DRIVER
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "tests" / "fakes" / "service.py"
DOCUMENT = ROOT / "docs" / "RELIABILITY.md"
KEPT = ROOT / "build" / "reliability.json"
OTHERS = ("supervisor", "circus", "honcho")  # their names in the package registry
TOOLS = ("stackctl", "supervisord", "circus", "honcho")
TREE = 3  # processes of the stand-in


@dataclass
class Run:
    """A stand-in under a tool; `tree` are its API server, EngineCore and Worker."""

    popen: subprocess.Popen[bytes]
    port: int
    tree: list[identity.Identity] = field(default_factory=list)

    def ask(self, path: str, method: str = "GET", timeout: float = 2.0) -> bytes | None:
        """The body of a 200; None for everything else."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == 200 else None

    def look(self) -> list[identity.Identity]:
        """The stand-in's processes as they are now; none while nobody answers."""
        said = self.ask("/pids")
        return [] if said is None else [each for pid in said.split() if (each := identity.of(int(pid))) is not None]

    def left(self) -> int:
        """How many of the first tree live."""
        return sum(map(identity.alive, self.tree))

    def another(self, within: float) -> float | None:
        """Seconds until another tree answers work; None when none does in time."""
        began = time.monotonic()
        while time.monotonic() - began < within:
            now = self.look()
            if now and now[0] not in self.tree and self.ask("/work", "POST") is not None:
                return time.monotonic() - began
            time.sleep(0.1)
        return None

    def ended(self, within: float) -> float | None:
        """Seconds until the tool itself has ended; None when it has not in time."""
        began = time.monotonic()
        try:
            self.popen.wait(within)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - began


def command(tool: str, programs: Path, place: Path, port: int, flags: tuple[str, ...]) -> list[str]:
    """Write what a tool needs to run the stand-in below `place`; return its command line."""
    service = [sys.executable, "-I", "-S", str(SERVICE), "--port", str(port), *flags]
    line, log = shlex.join(service), place / "engine.log"
    if tool == "stackctl":
        services = [{"name": "engine", "kind": "engine", "port": port, "flags": list(flags)}]
        return [sys.executable, "-I", DRIVER, "default", json.dumps(services), "{}"]
    if tool == "supervisord":
        file = place / "supervisord.conf"
        file.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={place}/supervisord.log\npidfile={place}/pid\n"
            f"[program:engine]\ncommand={line}\nautorestart=true\nstopasgroup=true\nkillasgroup=true\n"
            f"redirect_stderr=true\nstdout_logfile={log}\n"
        )
        return [str(programs / "supervisord"), "-c", str(file)]
    if tool == "circus":
        file = place / "circus.ini"
        file.write_text(
            f"[circus]\nendpoint=tcp://127.0.0.1:{free_port()}\npubsub_endpoint=tcp://127.0.0.1:{free_port()}\n"
            f"[watcher:engine]\ncmd={line}\nnumprocesses=1\nstop_children=True\ncopy_env=True\n"
            f"stdout_stream.class=FileStream\nstdout_stream.filename={log}\n"
            f"stderr_stream.class=FileStream\nstderr_stream.filename={log}\n"
        )
        return [str(programs / "circusd"), str(file)]
    file = place / "Procfile"
    file.write_text(f"engine: {line}\n")
    return [str(programs / "honcho"), "-f", str(file), "start"]


@contextlib.contextmanager
def running(tool: str, programs: Path, *flags: str) -> Iterator[Run]:
    """The stand-in under a tool, ready; whatever is left of it is killed in the end."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as directory:
        place, port = Path(directory), free_port()
        env = {"PATH": os.environ["PATH"], "HOME": directory, "STACKCTL_HOME": str(place / "state")}
        popen = subprocess.Popen(
            command(tool, programs, place, port, flags), cwd=place, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        found = Run(popen, port)
        seen: set[identity.Identity] = set()
        me = identity.of(popen.pid)
        try:
            ends = time.monotonic() + 60
            while len(found.tree) < TREE:
                found.tree = found.look()
                assert time.monotonic() < ends, f"{tool} did not start the stand-in"
                time.sleep(0.05)
            time.sleep(1.5)  # supervisord calls a program started after a second; stackctl proves it first
            seen.update(found.tree, below(popen.pid))
            yield found
        finally:
            seen.update(found.look(), below(popen.pid))
            for each in [*([me] if me else []), *seen]:
                identity.send(each, signal.SIGKILL)
            popen.wait(10)
            for each in started_in(directory):  # what the tool lost sight of, of each of its starts
                identity.send(each, signal.SIGKILL)


def started_in(directory: str) -> list[identity.Identity]:
    """Every process that works in or below a directory: all that a tool started there, whatever became of its parents."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/cwd").startswith(directory) and (each := identity.of(int(name))) is not None:
                found.append(each)
    return found


def below(pid: int) -> list[identity.Identity]:
    """Every descendant of a process."""
    boot = identity.boot_id()
    return [identity.Identity(each.pid, each.start_ticks, boot) for each in identity.descendants(pid, identity.table())]


# --- the faults: each gets a tool as `start(*flags)`, and says what followed ------------------------------------------

Start = "Callable[..., contextlib.AbstractContextManager[Run]]"


def supervisor_killed(start: Any) -> str:
    with start() as run:
        run.popen.kill()
        time.sleep(2)
        return f"{run.left()} of {TREE} left"


def api_server_killed(start: Any) -> str:
    with start() as run:
        identity.send(run.tree[0], signal.SIGKILL)
        time.sleep(8)
        again = "restarted" if run.another(4) is not None else "not restarted"
        return f"{run.left()} of {TREE - 1} left, {again}"


def deaf_children(start: Any) -> str:
    with start("--ignore-term", "core,worker") as run:
        return stopped(run)


def own_session(start: Any) -> str:
    with start("--own-session", "--ignore-term", "worker") as run:
        return stopped(run)


def stopped(run: Run) -> str:
    run.popen.send_signal(signal.SIGTERM)
    took = run.ended(40)
    return f"{run.left()} of {TREE} left" + (" (did not end in 40 s)" if took is None else f" after {took:.1f} s")


def core_killed(start: Any) -> str:
    with start() as run:
        identity.send(run.tree[1], signal.SIGKILL)
        return healed(run, 20)


def api_server_frozen(start: Any) -> str:
    with start() as run:
        identity.send(run.tree[0], signal.SIGSTOP)
        return healed(run, 30)


def core_frozen(start: Any) -> str:
    with start() as run:
        identity.send(run.tree[1], signal.SIGSTOP)
        return healed(run, 40)


def healed(run: Run, within: float) -> str:
    took = run.another(within)
    return f"not in {within:.0f} s" if took is None else f"healed after {took:.1f} s"


def crash_loop(start: Any) -> str:
    with start("--run-for", "2.5", "--crash-code", "9") as run:
        leaders, began = set(run.tree[:1]), time.monotonic()
        last = began
        while time.monotonic() - began < 45:
            for each in run.look()[:1]:
                if each not in leaders:
                    leaders.add(each)
                    last = time.monotonic()
            time.sleep(0.05)
        quiet = time.monotonic() - last > 12
        return f"{len(leaders)} starts, " + ("then it stops" if quiet else "and goes on")


def supervisor_frozen(start: Any) -> str:
    with start("--chatty") as run:
        run.popen.send_signal(signal.SIGSTOP)
        asked = answered = 0
        ends = time.monotonic() + 12
        while time.monotonic() < ends:
            asked += 1
            answered += run.ask("/work", "POST", 1.0) is not None
            time.sleep(0.1)
        run.popen.send_signal(signal.SIGCONT)
        return f"{answered}/{asked} answered"


def idle(start: Any) -> str:
    with start() as run:
        own = [each.pid for each in below(run.popen.pid) if each not in run.tree] + [run.popen.pid]

        def cpu() -> float:
            rows = [row for pid in own if (row := identity.row(pid)) is not None]
            return sum(row.cpu_ticks for row in rows) / os.sysconf("SC_CLK_TCK")

        time.sleep(3)
        before = cpu()
        time.sleep(20)
        share = (cpu() - before) / 20
        resident = 0
        for pid in own:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
                resident += next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return f"{resident / 1024:.0f} MB, {100 * share:.1f} %"


FAULTS: tuple[tuple[int, str, Callable[[Any], str]], ...] = (
    (1, "kill -9 the supervisor, 2 s later", supervisor_killed),
    (2, "kill -9 the API server, 8 s later: old processes", api_server_killed),
    (3, "stop; EngineCore and Worker ignore TERM", deaf_children),
    (4, "stop; the Worker has a session of its own", own_session),
    (5, "kill -9 EngineCore, the API server stays", core_killed),
    (6, "SIGSTOP the API server", api_server_frozen),
    (7, "SIGSTOP EngineCore, `/health` stays 200", core_frozen),
    (8, "crash 2.5 s after each start, for 45 s", crash_loop),
    (9, "supervisor frozen for 12 s beside a chatty service", supervisor_frozen),
    (25, "idle: memory, share of a core (without the service)", idle),
)


def measure(tool: str, programs: Path) -> dict[int, str]:
    """What followed each fault under one tool."""
    found: dict[int, str] = {}
    for number, fault, call in FAULTS:
        found[number] = call(lambda *flags: running(tool, programs, *flags))
        print(f"{tool:<12} {number:>2}  {fault}: {found[number]}", flush=True)
    return found


def install(directory: Path) -> tuple[Path, dict[str, str]]:
    """The other tools in an environment of their own; where their programs are, and their versions."""
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True, timeout=300)
    programs = directory / "bin"
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "install", "--quiet", *OTHERS, "setuptools<81"], check=True, timeout=600
    )  # supervisor: pkg_resources
    listed = subprocess.run([*pip, "list", "--format", "json"], check=True, timeout=60, capture_output=True).stdout
    return programs, {each["name"]: each["version"] for each in json.loads(listed)}


def document(found: dict[str, dict[str, str]], versions: dict[str, str], load: float) -> str:
    """The whole document."""
    heads = [
        "stackctl", f"supervisord {versions.get('supervisor', '')}", f"circus {versions.get('circus', '')}",
        f"honcho {versions.get('honcho', '')}",
    ]  # fmt: skip
    rows = [
        f"| {number} | {fault} | "
        + " | ".join(found.get(tool, {}).get(str(number), "not measured") for tool in TOOLS)
        + " |"
        for number, fault, _ in FAULTS
    ]
    machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    return "\n".join(
        [
            "# Reliability, measured",
            "",
            "Made by `make reliability` (`tests/bench/reliability.py`); nothing here is written by hand.",
            f"Measured on {machine}, beside other work (load average {load:.0f}).",
            "",
            "## The same faults, four supervisors",
            "",
            "Each runs the same stand-in, shaped like vLLM: an API server, its EngineCore, its Worker. supervisord has",
            "`stopasgroup` and `killasgroup`, circus `stop_children`; each has a log file, and takes the service's output",
            "through a pipe for it. honcho has nothing to set. *left* counts processes of the stand-in: each of vLLM's would",
            "go on holding the GPU's memory. *healed* is a new process tree that answers work.",
            "",
            f"| # | fault | {' | '.join(head.strip() for head in heads)} |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "## stackctl's own drills",
            "",
            "`make drills`, with stand-ins; rows that begin with *real* are vLLM's CPU build behind LiteLLM",
            "(`REAL=1 make drills`). The bar is what the drill must keep; a test fails at three times a stated time,",
            "because continuous integration shares its cores.",
            "",
            table.markdown(table.load()),
            "",
        ]
    )


def main() -> int:
    """Measure, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=TOOLS, help="measure this tool alone")
    parser.add_argument("--none", action="store_true", help="measure nothing: write the document from what is kept")
    given = parser.parse_args()
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {"found": {}, "versions": {}, "load": 0.0}
    if not given.none:
        chosen = given.only or list(TOOLS)
        with tempfile.TemporaryDirectory(prefix="reliability-tools-") as directory:
            programs, kept["versions"] = install(Path(directory) / "venv")
            with ThreadPoolExecutor(2) as pool:
                for tool, rows in zip(chosen, pool.map(lambda tool: measure(tool, programs), chosen), strict=True):
                    kept["found"][tool] = {str(number): said for number, said in rows.items()}
        kept["load"] = os.getloadavg()[2]
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    DOCUMENT.write_text(document(kept["found"], kept["versions"], kept["load"]))
    print(f"written: {DOCUMENT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
