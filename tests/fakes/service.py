"""A stand-in shaped like vLLM: an API server (leader) -> an engine core -> a worker, with faults to order.

Run as `python -I -S service.py --port N [flags]`; standard library only. `/health` is 200 as long as the core process
lives, also when it is frozen, and 503 once it is gone; `POST /work` goes through the core to the worker and back;
`/metrics` counts tokens; `/pids` names the three processes. The core and the worker carry no environment (vLLM
rewrites its processes' environ and argv).
"""

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import time

ME = os.path.abspath(__file__)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", default="api", choices=["api", "core", "worker"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--load", type=float, default=0.0, help="seconds of loading before it listens")
    parser.add_argument("--load-how", default="log", choices=["log", "cpu", "silent"], help="what shows the progress")
    parser.add_argument("--fail-load", type=int, default=-1, help="exit with this code instead of becoming ready")
    parser.add_argument("--run-for", type=float, default=0.0, help="crash this many seconds after becoming ready")
    parser.add_argument("--crash-code", type=int, default=1)
    parser.add_argument("--ignore-term", default="", help="roles that ignore TERM, with commas")
    parser.add_argument("--own-session", action="store_true", help="the worker makes a session of its own")
    parser.add_argument("--orphan", action="store_true", help="the worker is forked twice, so that its parent is gone")
    parser.add_argument("--mute", action="store_true", help="accept connections and never answer")
    parser.add_argument("--mute-after", type=float, default=0.0, help="the same, this many seconds after it listens")
    parser.add_argument("--busy", action="store_true", help="use CPU time while mute")
    parser.add_argument("--armed-by", default="", help="it neither crashes nor goes mute before this file is there")
    parser.add_argument("--no-work", action="store_true", help="healthy, but POST /work is 404")
    parser.add_argument("--chatty", action="store_true", help="write a line of log for each tenth of a second")
    parser.add_argument("--flood", type=float, default=0.0, help="write so many megabytes of log a second")
    parser.add_argument("--leave-port", type=int, default=0, help="listen here instead of --port, as LiteLLM does")
    return parser.parse_args()


def say(text: str) -> None:
    os.write(1, (text + "\n").encode())


def child(
    role: str, options: argparse.Namespace, to: int, back: int, errors: int | None = None
) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", ME, "--role", role, "--ignore-term", options.ignore_term]
    argv += ["--own-session"] * options.own_session + ["--orphan"] * options.orphan
    return subprocess.Popen(argv, env={}, stdin=to, stdout=back, stderr=errors)


def worker(options: argparse.Namespace) -> None:
    if options.orphan and os.fork():
        os._exit(0)
    if options.own_session:
        os.setsid()
    say(f"worker {os.getpid()}")  # its stdout is the pipe to the core; its stderr stays the log
    while True:  # deaf to a closed pipe: vLLM's worker stays when the API server is killed
        if select.select([0], [], [], 3600)[0]:
            raw = os.read(0, 4096)
            if not raw:
                time.sleep(3600)
            os.write(1, raw)


def core(options: argparse.Namespace) -> None:
    ours, theirs = socket.socketpair()
    child("worker", options, theirs.fileno(), theirs.fileno())
    theirs.close()
    named = ours.recv(100).split()[1].decode()
    os.write(1, f"{os.getpid()} {named}\n".encode())
    while raw := os.read(0, 4096):
        ours.sendall(raw)
        os.write(1, ours.recv(4096))
    time.sleep(3600)


class Api:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.tokens = 0
        self.core = child("core", options, subprocess.PIPE, subprocess.PIPE)
        assert self.core.stdout is not None
        self.below = self.core.stdout.readline().decode().split()
        self.served = 0
        self.began = time.monotonic()
        self.flooded = 0.0
        self.lines = self.refused = 0
        self.eaten = b""

    def load(self) -> None:
        until = time.monotonic() + self.options.load
        while (now := time.monotonic()) < until:
            if self.options.load_how == "log":
                say(f"loading, {until - now:.1f} s left")
                time.sleep(0.1)
            elif self.options.load_how == "cpu":
                for _ in range(200_000):
                    pass
                time.sleep(0.01)
            else:
                time.sleep(0.05)
        if self.options.fail_load >= 0:
            say("RuntimeError: the load failed as ordered")
            sys.stdout.flush()
            os._exit(self.options.fail_load)

    def serve(self) -> None:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", self.options.leave_port or self.options.port))
        server.listen(64)
        say(f"listening on {server.getsockname()[1]}")
        ready_at = time.monotonic()
        waiting: dict[socket.socket, float] = {}
        while True:
            if self.options.run_for and time.monotonic() - ready_at > self.options.run_for and self.armed():
                say("RuntimeError: crashed as ordered")
                os._exit(self.options.crash_code)
            if self.options.chatty:
                say("chat " * 200)
            self.flood()
            if self.options.busy and self.mute(ready_at):
                for _ in range(2_000_000):
                    pass
            for each in select.select([server, *waiting], [], [], 0.01 if self.options.flood else 0.1)[0]:
                if each is server:
                    waiting[server.accept()[0]] = time.monotonic()
                elif not self.mute(ready_at):
                    waiting.pop(each)
                    self.answer(each)

    def flood(self) -> None:
        """What is due of the flood, each line numbered; a full disk is no reason to stop.

        What it was held up for longer than a moment is not made up for: it never writes faster than it was told to.
        """
        due = self.options.flood * 1e6
        self.flooded = max(self.flooded, due * (time.monotonic() - self.began - 0.2))
        while self.flooded < due * (time.monotonic() - self.began) and self.options.flood:
            self.lines += 1
            try:
                self.flooded += os.write(1, (f"flood {self.lines} ".ljust(999, "~") + "\n").encode())
            except OSError:
                self.refused += 1
                self.flooded += 1000

    def mute(self, since: float) -> bool:
        after = float(self.options.mute_after)
        return bool(self.options.mute) or (after > 0 and time.monotonic() - since > after and self.armed())

    def armed(self) -> bool:
        return not self.options.armed_by or os.path.exists(self.options.armed_by)

    def answer(self, peer: socket.socket) -> None:
        with peer:
            try:
                asked = peer.recv(4096).decode().split()
                status, body = self.route(asked[0], asked[1]) if len(asked) > 1 else (400, "")
                peer.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            except OSError:
                pass

    def route(self, method: str, path: str) -> tuple[int, str]:
        if path == "/health":
            return (200, "") if self.core.poll() is None else (503, "")
        if path == "/metrics":
            return 200, f"tokens_total {self.tokens}\nlog_lines {self.lines}\nlog_refused {self.refused}\n"
        if path == "/pids":
            return 200, " ".join([str(os.getpid()), *self.below])
        if path == "/eat" and method == "POST":
            self.eaten = b"x" * (600 << 20)
            return 200, ""
        if path == "/work" and method == "POST" and not self.options.no_work:
            assert self.core.stdin is not None
            assert self.core.stdout is not None
            if self.core.poll() is not None:
                return 500, "engine dead"
            os.write(self.core.stdin.fileno(), b"one token\n")
            os.read(self.core.stdout.fileno(), 4096)
            self.tokens += 1
            return 200, "one token"
        return 404, ""


def main() -> None:
    options = arguments()
    if options.role in options.ignore_term.split(","):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if options.role == "worker":
        worker(options)
    elif options.role == "core":
        core(options)
    else:
        api = Api(options)
        say(f"pids {os.getpid()} {' '.join(api.below)}")
        api.load()
        api.serve()


if __name__ == "__main__":
    main()
