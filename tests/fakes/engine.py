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
import ctypes
import hmac
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.fakes import competent, ill, startup_log, wire
from tests.fakes.script import DEFAULT, Json, Request, Script, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 16  # tokens of a block of vLLM's prefix cache
_WORK = (
    0.3  # seconds that a request keeps its place: no real engine answers at once, and on a busy machine none would meet
)
_DEATH_NOTICE = 3.0  # seconds between a dead EngineCore and the leader's exit
_PATIENCE = 2.0  # seconds that a leader told to stop waits for EngineCore


def as_faults(names: list[str]) -> dict[str, str]:
    """`name` or `name=value` each."""
    return dict(each.partition("=")[::2] for each in names)


class Flags:
    """The command line. A flag may come as `--a-b v`, `--a_b v` or `--a-b=v`; several values are a list."""

    def __init__(self, argv: list[str]) -> None:
        self.values: dict[str, list[str]] = {"": []}
        self.held: list[socket.socket] = []
        name = ""
        for word in argv:
            if word.startswith("--"):
                flag, equals, value = word[2:].partition("=")
                name = flag.replace("_", "-")
                self.values.setdefault(name, []).extend([value] if equals else [])
            else:
                self.values[name].append(word)
        self.set_faults(self._faults())

    def _faults(self) -> list[str]:
        given = os.environ.get("FAKE_ENGINE_FAULTS", "")
        return [*self.values.get("fake-fault", []), *filter(None, given.split(","))]

    def set_faults(self, names: list[str]) -> None:
        """The faults, and what the flags themselves make of the engine."""
        self.faults = as_faults(names)
        if "connected" in self.faults:  # HOST/PORT, for as long as it lives
            host, _, port = self.faults["connected"].partition("/")
            self.held.append(socket.create_connection((host, int(port)), 10))
        if self.has("no-enable-prefix-caching"):
            self.faults["no-cache"] = ""
        if self.get("max-num-seqs", "") == "1":
            self.faults["serial"] = ""
        if self.has("chat-template"):
            self.faults.pop("bare", None)

    def has(self, name: str) -> bool:
        """Whether the flag is there."""
        return name in self.values

    def get(self, name: str, default: str) -> str:
        """The flag's first value."""
        return (self.values.get(name) or [default])[0]

    @property
    def window(self) -> int:
        """Tokens; `auto` and the like are 32768."""
        given = self.faults.get("window") or self.get("max-model-len", "")
        return int(given) if given.isdecimal() else 32768

    @property
    def names(self) -> list[str]:
        """The names that the model is served under."""
        other = self.faults.get("names")
        return other.split("+") if other else self.values.get("served-model-name") or [self.model]

    @property
    def model(self) -> str:
        """The model that is loaded."""
        return self.get("model", next((each for each in self.values[""] if each != "serve"), "scripted"))


# --- the process tree


def _rename(title: str) -> None:
    """Overwrite argv and the environment in place, as setproctitle does for vLLM's children."""
    with open("/proc/self/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[48])  # arg_start .. env_end; fields counts from `state`
    raw = title.encode()[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, raw, len(raw))
    ctypes.CDLL(None).prctl(15, raw[:15], 0, 0, 0)


def _serve_pipe(title: str, asks: int, answers: int, onward: Tree | None, ignore_term: bool) -> None:
    """A child's life: each byte asked is handed on, then answered. A dead leader does not end EngineCore (measured); a
    dead EngineCore ends its Worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave(_signum: int, _frame: object) -> None:
        if onward is not None:
            os.kill(onward.pid, signal.SIGTERM)
            os.waitpid(onward.pid, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignore_term else leave)
    with contextlib.suppress(OSError, AttributeError, ValueError):  # no /proc: the old name stays
        _rename(title)
    with contextlib.suppress(BrokenPipeError):
        os.write(answers, b".")  # from here on it reacts to signals as a child of its kind
    while True:
        asked = os.read(asks, 1)
        while asked == b"!":  # a deadlock: TERM is still obeyed
            time.sleep(3600)
        if not asked:
            while onward is not None or ignore_term:  # it stays, and holds its memory
                time.sleep(3600)
            os._exit(0)
        if onward is not None:
            onward.step()
        with contextlib.suppress(BrokenPipeError):
            os.write(answers, b".")


class Tree:
    """One child process that every token passes through; `nested` gives it a child of its own (EngineCore -> Worker)."""

    def __init__(self, title: str, nested: str | None, ignore_term: bool, not_theirs: tuple[int, ...]) -> None:
        ask_read, self._ask = os.pipe()
        self._answer, answer_write = os.pipe()
        self._lock = threading.Lock()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for each in (self._ask, self._answer, *not_theirs):  # a child must not hold the port
                os.close(each)
            onward = Tree(nested, None, ignore_term, ()) if nested else None
            _serve_pipe(title, ask_read, answer_write, onward, ignore_term)
        os.close(ask_read)
        os.close(answer_write)
        os.read(self._answer, 1)

    def deadlock(self) -> None:
        """Let the child hang for ever, without being stopped."""
        os.write(self._ask, b"!")

    def step(self) -> None:
        """Let the model make one token. Waits for as long as the child is frozen; BrokenPipeError when it is dead."""
        with self._lock:
            os.write(self._ask, b".")
            if not os.read(self._answer, 1):
                raise BrokenPipeError


# --- the API server


class Engine:
    """What the request handlers share."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self.tree: Tree | None = None
        self.dead = False
        self.gone = threading.Event()  # EngineCore was reaped
        self.script = Script(flags.get("fake-script", os.environ.get("FAKE_ENGINE_SCRIPT", "")) or None)
        self._record = flags.get("fake-record", os.environ.get("FAKE_ENGINE_RECORD", ""))
        self._lock = threading.Lock()
        self.turn = threading.Lock()
        self._prompts: list[list[str]] = []
        self._inside = 0  # requests
        self.counters = dict.fromkeys(("prompt", "generated", "queries", "hits", "success", "running"), 0)
        self.requests: dict[
            tuple[str, str, str], int
        ] = {}  # handler, method and status class of vLLM's http_requests_total
        self.answers_from = 0.0

    def record(self, entry: Json) -> None:
        """Append one request to the record."""
        if self._record:
            with self._lock, open(self._record, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")

    def count(self, **more: int) -> None:
        """Add to the counters of /metrics."""
        with self._lock:
            for name, value in more.items():
                self.counters[name] += value

    def enter(self) -> int:
        """A request has come: how many others are being answered."""
        with self._lock:
            self._inside += 1
            return self._inside - 1

    def leave(self) -> None:
        """It has been answered."""
        with self._lock:
            self._inside -= 1

    def cached(self, prompt: list[str]) -> int:
        """How many tokens of `prompt` are in the prefix cache; from now on all of it is, in whole blocks."""
        best = 0
        with self._lock:
            for old in self._prompts:
                same = next(
                    (i for i, (a, b) in enumerate(zip(old, prompt, strict=False)) if a != b), min(len(old), len(prompt))
                )
                best = max(best, min(same, len(prompt) - 1) // _BLOCK * _BLOCK)
            self._prompts = [] if "no-cache" in self.flags.faults else [*self._prompts[-50:], prompt]
        self.count(queries=len(prompt), hits=best)
        return best

    def turn_for(self, request: Request) -> Json:
        """What is answered: a turn of the script, or what a model that can use tools says by itself."""
        turn = self.script.choose(request)
        if turn is DEFAULT and self.flags.has("fake-competent"):
            return competent.turn(request, thinks=self.flags.has("reasoning-parser") or "thinks" in self.flags.faults)
        return turn

    def step(self) -> None:
        """One token through EngineCore and Worker."""
        if self.tree is not None:
            self.tree.step()

    def answered(self, path: str, method: str, status: int) -> None:
        """Count one answered request, as prometheus-fastapi-instrumentator does for vLLM."""
        if path.startswith("/v1"):
            key = path, method, f"{status // 100}xx"
            with self._lock:
                self.requests[key] = self.requests.get(key, 0) + 1

    def metrics(self) -> str:
        """Prometheus' text, with vLLM's names."""
        names = {
            "vllm:num_requests_running": "running",
            "vllm:prompt_tokens_total": "prompt",
            "vllm:generation_tokens_total": "generated",
            "vllm:prefix_cache_queries_total": "queries",
            "vllm:prefix_cache_hits_total": "hits",
            'vllm:request_success_total{finished_reason="stop"}': "success",
        }
        label = f'engine="0",model_name="{self.flags.names[0]}"'
        rows = ["vllm:num_requests_waiting{" + label + "} 0.0"]
        for name, counter in names.items():
            bare, _, own = name.partition("{")
            rows.append(f"{bare}{{{label}{',' + own[:-1] if own else ''}}} {float(self.counters[counter])}")
        with self._lock:
            for (path, method, status), count in self.requests.items():
                rows.append(
                    f'http_requests_total{{handler="{path}",method="{method}",status="{status}"}} {float(count)}'
                )
        return "\n".join(rows) + "\n"


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An HTTP error in vLLM's words."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class Cut(Exception):  # noqa: N818 - a wish of the script
    """The script wants the connection to break here."""


_WHOLE = {
    "/v1/messages": wire.anthropic_whole,
    "/v1/chat/completions": wire.chat_whole,
    "/v1/completions": wire.completion_whole,
    "/v1/responses": wire.responses_whole,
}
_STREAM = {
    "/v1/messages": wire.anthropic_stream,
    "/v1/chat/completions": wire.chat_stream,
    "/v1/responses": wire.responses_stream,
}


_BLOCKS = ("text", "image", "tool_use", "tool_result", "tool_reference", "thinking", "redacted_thinking")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: Engine

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        print(f"INFO:     127.0.0.1:{self.client_address[1]} - {format % args}", flush=True)

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def send_response(self, code: int, message: str | None = None) -> None:
        self.engine.answered(self.path.partition("?")[0], self.command, code)
        super().send_response(code, message)

    def _guarded(self, act: Any) -> None:
        engine = self.engine
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        path = self.path.partition("?")[0]
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        if path == "/fake/faults" and engine.flags.has("fake-control"):
            engine.flags.set_faults(body["faults"])
            self._json(200, {"faults": body["faults"]})
            return
        authorized = self._authorized()
        shown = {
            name.lower(): "<redacted>" if name.lower() in {"authorization", "x-api-key"} else value
            for name, value in self.headers.items()
        }
        if self.headers.get("user-agent") != "stackctl":  # the supervisor's own questions are no client's
            engine.record(
                {"method": self.command, "path": path, "headers": shown, "authorized": authorized, "body": body}
            )
        time.sleep(max(0.0, engine.answers_from - time.monotonic()))
        if self._elsewhere():
            return
        if path.startswith("/v1") and not authorized:
            self._json(401, {"error": "Unauthorized"})
            return
        try:
            act(path, body)
        except Refused as refused:
            error = {"type": refused.kind, "message": refused.message}
            answer: Json = {"type": "error", "error": error}
            if not path.startswith("/v1/messages"):
                answer = {"error": {**error, "param": None, "code": refused.status}}
            self._json(refused.status, answer)
        except (Cut, BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except (TypeError, AttributeError, KeyError, ValueError) as error:  # what pydantic refuses in the real one
            self._json(
                400, {"error": {"message": f"1 validation errors: {error!r}", "type": "Bad Request", "code": 400}}
            )

    def _authorized(self) -> bool:
        flags = self.engine.flags
        key = os.environ.get("VLLM_API_KEY") or flags.get("api-key", "")
        sent = self.headers.get("authorization", "")
        asked = flags.faults.get("key")
        return asked != "reject" and (
            asked == "open" or not key or hmac.compare_digest(sent.encode(), f"Bearer {key}".encode())
        )

    def _elsewhere(self) -> bool:
        """Whether this is no engine at all, and has answered."""
        faults = self.engine.flags.faults
        if "page" in faults:
            self._send(200, ill.PAGE, "text/html")
        elif "redirect" in faults:
            self.send_response(308)
            self.send_header("location", "https://login.example.invalid/")
            self.send_header("content-length", "0")
            self.end_headers()
        return bool(faults.keys() & {"page", "redirect"})

    def _get(self, path: str, _: Json) -> None:
        engine, flags = self.engine, self.engine.flags
        if path == "/health":
            self._send(503 if engine.dead else int(flags.faults.get("health", 200)), b"", "text/plain")
        elif path == "/version":
            self._json(200, {"version": flags.faults.get("version", "0.32.0")})
        elif path == "/metrics" and "metrics" in flags.faults:
            self._json(404, {"detail": "Not Found"})
        elif path == "/ping":
            self._send(200, b"", "text/plain")
        elif path == "/load":
            self._json(200, {"server_load": engine.counters["running"]})
        elif path == "/metrics":
            self._send(200, engine.metrics().encode(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/v1/models":
            card = {"object": "model", "created": int(time.time()), "owned_by": "vllm", "root": flags.model}
            rows = [{"id": each, **card, "parent": None, "max_model_len": flags.window} for each in flags.names]
            self._json(200, {"object": "list", "data": rows})
        else:
            self._json(404, {"detail": "Not Found"})

    def _post(self, path: str, body: Json) -> None:
        if path == "/tokenize":
            text = body["prompt"] if "prompt" in body else Request(path, body).prompt
            ids = [hash(each) % 49152 for each in tokens(text)]
            self._json(200, {"count": len(ids), "max_model_len": self.engine.flags.window, "tokens": ids})
        elif path.startswith("/v1/messages") and "no-messages" in self.engine.flags.faults:
            self._json(404, {"detail": "Not Found"})
        elif path == "/v1/messages/count_tokens":
            if self.engine.flags.faults.get("count") == "404":
                self._json(404, {"detail": "Not Found"})
                return
            request = self._check_model(path, body)
            if "vision" not in self.engine.flags.faults and competent.has_image(request):
                raise Refused(400, "BadRequestError", f"{body.get('model')} is not a multimodal model")
            count = len(request.tokens)
            if self.engine.flags.faults.get("count") == "guess":
                count //= 3
            self._json(200, {"input_tokens": count, "context_management": {"original_input_tokens": count}})
        elif path in _WHOLE:
            self._generate(path, body)
        else:
            self._json(404, {"detail": "Not Found"})

    def _check_model(self, path: str, body: Json) -> Request:
        flags = self.engine.flags
        missing = [name for name in ("messages",) if path.startswith("/v1/messages") and name not in body]
        if missing:
            raise Refused(400, "Bad Request", f"1 validation errors: body.{missing[0]} Field required")
        if body.get("model") not in flags.names:
            valid = ", ".join(flags.names)
            raise Refused(
                404, "NotFoundError", f"The model `{body.get('model')}` does not exist. Valid aliases: {valid}."
            )
        self._readable(path, body)
        return Request(path, body)

    def _readable(self, path: str, body: Json) -> None:
        """Raise what vLLM 0.32 refuses: blocks that it does not know, tools without a schema."""
        if path.startswith("/v1/messages"):
            contents = [each["content"] for each in body["messages"] if isinstance(each["content"], list)]
            kinds = [each["type"] for content in contents for each in content if each["type"] not in _BLOCKS]
            if kinds:
                known = ", ".join(map(repr, _BLOCKS))
                raise Refused(
                    400,
                    "Bad Request",
                    f"'type': 'literal_error', 'msg': \"Input should be {known}\", 'input': {kinds[0]!r}",
                )
            if any("input_schema" not in each for each in body.get("tools") or []):
                raise Refused(
                    400,
                    "Bad Request",
                    "'type': 'missing', 'loc': ('body', 'tools', 0, 'input_schema'), 'msg': 'Field required'",
                )

    def _limit(self, request: Request) -> int:
        """The most tokens that the answer may have; raises what vLLM refuses, in its words."""
        body, flags = request.body, self.engine.flags
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
        if request.path == "/v1/messages" and asked is None:
            raise Refused(400, "Bad Request", "1 validation errors: body.max_tokens Field required")
        window, used = flags.window, len(request.tokens)
        if asked and asked > window:
            detail = f"(parameter=max_completion_tokens, value={asked})"
            raise Refused(
                400,
                "BadRequestError",
                f"max_completion_tokens={asked} cannot be greater than max_model_len={window}. "
                f"Please request fewer output tokens. {detail}",
            )
        if used >= window:
            raise Refused(
                400,
                "BadRequestError",
                f"This model's maximum context length is {window} tokens. However, your prompt contains at least {used} "
                "input tokens, which exceeds this limit even without any output tokens.",
            )
        thinking = body.get("thinking") or {}
        budget = (
            thinking.get("budget_tokens") if thinking.get("type") == "enabled" else body.get("thinking_token_budget")
        )
        if budget is not None and asked and budget >= asked:
            raise Refused(400, "Bad Request", "thinking.budget_tokens must be less than max_tokens")
        if budget is not None and not (flags.has("reasoning-parser") or flags.has("reasoning-config")):
            raise Refused(
                400,
                "BadRequestError",
                "thinking_token_budget is set but reasoning_config is not configured. Please set --reasoning-parser "
                "and/or --reasoning-config to use thinking_token_budget.",
            )
        if (
            request.tools
            and body.get("tool_choice") not in ("none", {"type": "none"})
            and not (
                flags.has("enable-auto-tool-choice") and flags.has("tool-call-parser") and "no-auto" not in flags.faults
            )
        ):
            raise Refused(
                400,
                "BadRequestError",
                '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            )
        return min(asked or window, window - used)

    def _ill(self, request: Request, others: int) -> None:
        """What keeps the engine from answering: raises how it is refused; does not return while the engine is mute."""
        engine, faults = self.engine, self.engine.flags.faults
        refused = ill.refusal(request, faults, others)
        if refused is None and engine.dead:
            words = "EngineCore encountered an issue. See stack trace (above) for the root cause."
            refused = (500, "InternalServerError", words)
        if refused is None and "refuse" in faults:
            refused = (500, "InternalServerError", "the scripted engine was told to refuse")
        if refused is not None:
            if refused[2] == ill.NO_TEMPLATE:
                startup_log.say("", 0, "", "", f"ValueError: {refused[2]}")
            raise Refused(*refused)
        while "mute" in engine.flags.faults:
            time.sleep(0.1)

    def _generate(self, path: str, body: Json) -> None:
        others = self.engine.enter()
        try:
            self._answer(path, body, others)
        finally:
            self.engine.leave()

    def _answer(self, path: str, body: Json, others: int) -> None:
        """Answer a request that came while `others` were being answered."""
        engine, flags = self.engine, self.engine.flags
        request = self._check_model(path, body)
        limit = self._limit(request)
        self._ill(request, others)
        turn = engine.turn_for(request)
        blocks, output, cut = wire.shorten(
            ill.reply(
                turn["reply"],
                request,
                ill.unread(flags.faults, reasoner=flags.has("reasoning-parser")),
                flags.get("tool-call-parser", ""),
            ),
            limit,
        )
        time.sleep(float(flags.faults.get("slow", 0)))
        if "too-many" in flags.faults:
            time.sleep(_WORK)
        for block in blocks:
            if "status" in block:
                kind = block.get("type", "InternalServerError")
                raise Refused(block["status"], kind, block.get("error", "scripted"))
        hit = engine.cached(request.tokens)
        usage = wire.Usage(len(request.tokens), output)
        if flags.has("enable-prompt-tokens-details"):
            usage.cached, usage.created = hit, len(request.tokens) // _BLOCK * _BLOCK - hit
        usage = ill.usage(usage, flags.faults)
        model = body["model"]
        engine.count(running=1)
        made = 0

        def step() -> None:
            nonlocal made
            engine.step()
            engine.count(generated=int(made < output), prompt=len(request.tokens) if made == 0 else 0)
            made += 1

        if "serial" in flags.faults:
            engine.turn.acquire()
        try:
            if body.get("stream") and path in _STREAM and "plain" not in flags.faults:
                events = ill.events(_STREAM[path](model, blocks, usage, cut), flags.faults)
                self._stream(events, turn.get("pace", 0.0), step)
            else:
                for block in blocks:
                    self._pause(block)
                for _ in range(min(output, 8)):
                    step()
                time.sleep(min(1.0, turn.get("pace", 0.0) * output))  # no reader that leaves is noticed meanwhile
                self._json(200, _WHOLE[path](model, blocks, usage, cut))
            engine.count(generated=max(0, output - made), prompt=0 if made else len(request.tokens), success=1)
        except (BrokenPipeError, ConnectionResetError):
            while "deaf" in flags.faults:
                time.sleep(0.1)
            raise
        finally:
            if "serial" in flags.faults:
                engine.turn.release()
            engine.count(running=-1)

    def _pause(self, block: Json) -> None:
        if "silence" in block:
            time.sleep(block["silence"])
        if block.get("cut"):
            raise Cut

    def _stream(self, events: Iterator[bytes | Json], pace: float, step: Callable[[], None]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            if isinstance(event, dict):
                self._pause(event)
                continue
            step()
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            time.sleep(pace)
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, body: Json) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Takes the socket that was bound before the model was loaded."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, bound: socket.socket, engine: Engine) -> None:
        handler = type("BoundHandler", (Handler,), {"engine": engine})
        super().__init__(bound.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        bound.listen(self.request_queue_size)


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
