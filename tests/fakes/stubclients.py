"""Stand-in clients: real programs of the clients' names that write down how they were started."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from stackctl import identity
from stackctl.paths import StackPaths

FACTS = {"url": "http://127.0.0.1:4000", "model": "claude-local", "served": "Qwen/Real", "window": 32768, "output_limit": 8192, "timeout": 600, "vision": False}  # fmt: skip
KEY = "sk-stackctl-canary-3f0a"
_PROGRAM = """#!{python} -I
import json, os, signal, sys, time
if sys.argv[1:] == ["--version"]:
    print({version!r}); sys.exit({broken})
files = {{each: open(each).read() for each in [*sys.argv, *os.environ.values()] if each.endswith("settings.json") and os.path.isfile(each)}}
modes = {{each: os.stat(each).st_mode & 0o777 for each in files}}
dump = {{"pid": os.getpid(), "argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "files": files, "modes": modes,
        "tty": [os.isatty(n) for n in (0, 1, 2)]}}
with open({dump!r} + ".new", "w") as stream: json.dump(dump, stream)
os.replace({dump!r} + ".new", {dump!r})
words = sys.argv[1:]
if "read" in words: print("got:" + sys.stdin.read(), end="")
if "stop" in words: os.kill(os.getpid(), signal.SIGSTOP); print("continued", flush=True)
if "wait" in words:
    signal.signal(signal.SIGINT, lambda *_: (os.write(1, b"interrupted\\n"), os._exit(5)))
    signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"terminated\\n"), os._exit(6)))
    signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b"size %d %d\\n" % os.get_terminal_size()))
    os.write(1, b"waiting\\n")
    while True: time.sleep(0.05)
if "die" in words: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(words[-1]) if words and words[-1].isdigit() else 0)
"""


def stub(directory: Path, name: str, *, version: str = "99.1.2 (Stand-in)", broken: int = 0) -> Path:
    """A program `name` in `directory` (to be put on PATH); what it saw is in the returned file once it has run."""
    directory.mkdir(parents=True, exist_ok=True)
    dump = directory / f"{name}.saw.json"
    program = directory / name
    program.write_text(_PROGRAM.format(python=sys.executable, version=version, dump=str(dump), broken=broken))
    program.chmod(0o755)
    return dump


def saw(dump: Path) -> dict[str, Any]:
    """How the stand-in was started."""
    found = json.loads(dump.read_text())
    assert isinstance(found, dict)
    return found


def say_running(home: Path, name: str = "default") -> StackPaths:
    """A stack whose supervisor is this very process, with a key."""
    paths = StackPaths(name)
    assert paths.root.startswith(str(home))
    os.makedirs(paths.root, mode=0o700)
    Path(paths.client_key).write_text(KEY + "\n")
    me = identity.mine()
    supervisor = {"pid": me.pid, "start_ticks": me.start_ticks}
    Path(paths.state).write_text(
        json.dumps({"schema": 1, "boot_id": me.boot_id, "supervisor": supervisor, "client": FACTS})
    )
    return paths
