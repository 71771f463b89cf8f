"""The scripted engine: a real HTTP server with vLLM's endpoints, process tree, flags and start-up log, that says what a
script tells it. Run in place of vLLM (`command: [python, tests/fakes/engine.py, --fake-script, turns.json]`): vLLM's own
flags are appended, and those that matter here are obeyed, the others ignored.

    --fake-script FILE    what to answer (tests/fakes/script.py); or $FAKE_ENGINE_SCRIPT
    --fake-record FILE    every request is appended there as a line of JSON; or $FAKE_ENGINE_RECORD
    --fake-fault NAME     (repeatable; or $FAKE_ENGINE_FAULTS, separated by commas)
        fail=REASON           ends while loading, with vLLM's words for it (a key of startup_log.FAILURES)
        own=N, holds=N, free=A/B, needs=SHARE, parsers=A+B, without=FLAG    the model and the machine: a window above the
                              model's own or above what the KV cache holds, a share of memory above what is free or below
                              what the weights need, a parser or a flag that this version has not end the start as in vLLM
        while=FLAG[=VALUE]:ROW     fails as that row of catalog/symptoms shows, as long as the flag is there
        dies                  ends without a word while loading; dies-once=FILE: at its first start, of which FILE is the mark
        load=SECONDS          loading takes that long
        hang                  loads for ever: the log stops growing after the weights, nothing listens
        late=SECONDS          listens and accepts, but answers nothing for so long
        crash=SECONDS         dies (exit code 1) that long after it is ready
        no-tree               no EngineCore, no Worker
        ignore-term           nobody reacts to TERM; children-ignore-term: only the leader does
        keep-alive            the API server stays (with /health 503) when EngineCore dies
        deadlock=SECONDS      EngineCore stops answering that long after it is ready; it is not stopped, and /health is 200
        serial                one message at a time: the others wait
        mute                  /health is fine, and no request is ever answered
        refuse                every message is answered with a 500
        and those of an engine that runs and is wrong: tests/fakes/ill.py
    --fake-competent      what no turn of the script answers, a model answers that can use tools (tests/fakes/competent.py)
    --fake-control        POST /fake/faults {"faults": [NAME, ...]} sets the faults of a running engine anew

Like vLLM's: EngineCore and Worker are in the leader's process group and session and rewrite their argv; they survive a
killed leader; tokens go through both, so that a frozen one hangs requests while /health stays 200; a dead EngineCore turns
/health to 503, and the leader exits some seconds later; the port is bound at once, but refuses until the model is loaded.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.fakes import startup_log
from tests.fakes.engine_api import Server
from tests.fakes.engine_flags import Flags
from tests.fakes.engine_state import Engine
from tests.fakes.engine_tree import Tree

_DEATH_NOTICE = 3.0  # seconds between a dead EngineCore and the leader's exit
_PATIENCE = 2.0  # seconds that a leader told to stop waits for EngineCore


def _load(flags: Flags, engine: Engine, bound: socket.socket, stopping: threading.Event) -> int | None:
    """Print the phases, make the tree, take the time that was asked for; an exit code when the start fails."""
    faults = flags.faults
    host, port = bound.getsockname()[:2]
    pause = float(faults.get("load", 0)) / len(startup_log.PHASES)
    pids = {"APIServer": os.getpid(), "EngineCore": os.getpid() + 1, "Worker": os.getpid() + 2, "": 0}
    for who, level, where, text in startup_log.PHASES:
        if who == "EngineCore" and engine.tree is None and "no-tree" not in faults:
            stubborn = "ignore-term" in faults or "children-ignore-term" in faults
            engine.tree = Tree("VLLM::EngineCore", "VLLM::Worker", stubborn, (bound.fileno(),))
            pids["EngineCore"] = engine.tree.pid
            threading.Thread(target=_watch, args=(engine, engine.tree, stopping), daemon=True).start()
        startup_log.say(
            who,
            pids[who],
            level,
            where,
            text.format(model=flags.model, window=flags.window, url=f"http://{host}:{port}"),
        )
        if "Loading weights took" in text:
            while "hang" in faults:
                time.sleep(3600)
            reason, words = startup_log.refused(faults, flags.values, flags.window) or (faults.get("fail", ""), "")
            if reason:
                stopping.set()
                if engine.tree is not None:
                    os.kill(engine.tree.pid, signal.SIGKILL)
                    engine.gone.wait(_PATIENCE)
                return startup_log.fail(reason, pids["EngineCore"], words)
            if "dies" in faults:
                os._exit(1)
            if "dies-once" in faults and not os.path.exists(faults["dies-once"]):
                with open(faults["dies-once"], "w", encoding="utf-8"):
                    os._exit(1)
        time.sleep(pause)
    return None


def _watch(engine: Engine, tree: Tree, stopping: threading.Event) -> None:
    """Notice EngineCore's death as vLLM does: 503 at once, exit some seconds later."""
    os.waitpid(tree.pid, 0)
    engine.dead = True
    engine.gone.set()
    if stopping.is_set():
        return
    startup_log.say("APIServer", os.getpid(), "ERROR", "async_llm.py:410", "EngineCore encountered a fatal error.")
    if "keep-alive" not in engine.flags.faults:
        time.sleep(_DEATH_NOTICE)
        os._exit(1)


def main(argv: list[str]) -> int:
    """Run the engine until TERM."""
    flags = Flags(argv)
    if flags.has("version"):
        print("0.32.0")
        return 0
    engine = Engine(flags)
    faults = flags.faults
    wrong = startup_log.refused(faults, flags.values, flags.window)
    if faults.get("fail") == "bad_flag" or (wrong and wrong[0] == "bad_flag"):
        return startup_log.fail("bad_flag", os.getpid(), wrong[1] if wrong else "")
    host, port = flags.get("host", "127.0.0.1"), int(flags.get("port", "8000"))
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        return startup_log.fail("port_in_use", os.getpid())
    stopping = threading.Event()

    def stop(signum: int, _frame: object) -> None:
        startup_log.say(
            "APIServer", os.getpid(), "INFO", "launcher.py:210", "[shutdown] API server: shutdown triggered"
        )
        stopping.set()
        if engine.tree is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine.tree.pid, signal.SIGTERM)
            engine.gone.wait(_PATIENCE)
        startup_log.say("", 0, "", "", "INFO:     Application shutdown complete.")
        os._exit(0)

    if "ignore-term" in faults:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    code = _load(flags, engine, bound, stopping)
    if code is not None:
        return code
    engine.answers_from = time.monotonic() + float(faults.get("late", 0))
    server = Server(bound, engine)
    if "deadlock" in faults and engine.tree is not None:
        threading.Timer(float(faults["deadlock"]), engine.tree.deadlock).start()
    if "crash" in faults:
        threading.Timer(float(faults["crash"]), os._exit, (1,)).start()
    for line in ("Started server process", "Waiting for application startup.", "Application startup complete."):
        startup_log.say("", 0, "", "", f"INFO:     {line}")
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
