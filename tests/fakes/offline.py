"""A network namespace that has loopback and nothing else, and the kernel's count of attempts to leave it.

Run as a program inside such a namespace: `python -m tests.fakes.offline WHAT...` runs one of the scenarios below and prints
what the kernel counted. An attempt to connect or to send off loopback has no route there: the kernel refuses it and
counts it in OutNoRoutes, for IPv4 and IPv6, TCP and UDP. A lookup of a name is a datagram: off loopback it is counted
there, on loopback in OutDatagrams. So nothing is sampled, and nothing that was tried is missed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes import sse, stack, turns

if TYPE_CHECKING:
    from collections.abc import Callable

_SIOCSIFFLAGS, _UP_RUNNING = 0x8914, 0x41
COUNTERS = ("Ip:OutNoRoutes", "Udp:OutDatagrams", "Ip6OutNoRoutes", "Udp6OutDatagrams")
PICTURE = "http://pictures.example.com/x.png"


def run(scenario: str, *arguments: str, timeout: float) -> dict[str, Any]:
    """Run a scenario in a namespace of its own; what it printed. Needs root, or user namespaces."""
    isolate = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
    argv = [*isolate, sys.executable, "-m", "tests.fakes.offline", scenario, *arguments]
    done = subprocess.run(argv, cwd=stack.ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def _counted() -> dict[str, int]:
    found: dict[str, int] = {}
    lines = Path("/proc/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, *columns = names.split()
        found |= {group + name: int(value) for name, value in zip(columns, values.split()[1:], strict=True)}
    for line in Path("/proc/net/snmp6").read_text().splitlines():
        name, value = line.split()
        found[name] = int(value)
    return {name: found[name] for name in COUNTERS}


def _since(before: dict[str, int]) -> dict[str, int]:
    return {name: value - before[name] for name, value in _counted().items()}


def attempts() -> dict[str, Any]:
    """The control: what the counters show when something does try to leave."""
    found: dict[str, Any] = {}
    for name, family, kind, address in (
        ("tcp4", socket.AF_INET, socket.SOCK_STREAM, "192.0.2.1"),
        ("tcp6", socket.AF_INET6, socket.SOCK_STREAM, "2001:db8::1"),
        ("udp4", socket.AF_INET, socket.SOCK_DGRAM, "192.0.2.1"),
        ("udp6", socket.AF_INET6, socket.SOCK_DGRAM, "2001:db8::1"),
    ):
        before = _counted()
        with socket.socket(family, kind) as tried, contextlib.suppress(OSError):
            tried.connect((address, 80))
        found[name] = _since(before)
    before = _counted()
    with contextlib.suppress(OSError):
        socket.getaddrinfo("example.com", 80)
    found["lookup"] = _since(before)
    return found


def _exercise(chain: stack.Stack) -> list[tuple[str, int]]:
    """Everything that clients do, and what might tempt LiteLLM to look outside."""
    said = [{"role": "user", "content": "hi"}]
    body = {"model": stack.ALIAS, "max_tokens": 16, "messages": said}
    own = {**body, "model": stack.SERVED}
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    shown = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}]}
    source = {"type": "image", "source": {"type": "url", "url": PICTURE}}
    betas = {"anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,effort-2025-11-24"}
    asked: list[tuple[str, Any]] = [
        ("/v1/models?limit=1000", None),
        ("/v1/messages?beta=true", body | {"stream": True, "thinking": {"type": "adaptive"}}),
        ("/v1/messages", body),
        ("/v1/messages", own),
        ("/v1/messages/count_tokens", body),
        ("/v1/messages/count_tokens", own),
        ("/v1/chat/completions", own),
        ("/v1/chat/completions", own | {"stream": True}),
        ("/v1/responses", {"model": stack.SERVED, "input": "hi", "max_output_tokens": 16}),
        ("/v1/messages", body | {"model": "not-served"}),
        ("/v1/chat/completions", body | shown),
        ("/v1/chat/completions", own | shown),
        ("/v1/messages/count_tokens", own | {"messages": [{"role": "user", "content": [source]}]}),
        ("/v1/embeddings", {"model": stack.SERVED, "input": "hi"}),
    ]
    found = []
    for path, content in asked:
        answer = chain.ask(path, content, headers=betas)
        if isinstance(content, dict) and content.get("stream") and "messages" in path:
            sse.read(answer.raw)
        found.append((path, answer.status))
    found.append(("wrong key", chain.ask("/v1/messages", body, key="sk-wrong").status))
    return found


def scripted() -> dict[str, Any]:
    """The scripted engine behind real LiteLLM; stackctl's own commands are counted too."""
    with tempfile.TemporaryDirectory() as scratch:
        before = _counted()
        with stack.scripted_stack(Path(scratch) / "s", turns.TURNS) as chain:
            asked = _exercise(chain)
        return {"asked": asked, "counted": _since(before)}


def routed() -> dict[str, Any]:
    """Two scripted engines and a provider on loopback behind real LiteLLM: every name, asked and counted."""
    from tests.fakes import hosted, routes

    said = [{"role": "user", "content": "hi"}]
    with tempfile.TemporaryDirectory() as scratch, hosted.provider(routes.KEY) as provider:
        before = _counted()
        asked = []
        with routes.routed(Path(scratch), provider) as found:
            for name in routes.BEHIND:
                for path in ("/v1/messages", "/v1/messages/count_tokens"):
                    more = {} if path.endswith("tokens") else {"max_tokens": 16}
                    answer = found.chain.ask(path, {"model": name, "messages": said, **more})
                    asked.append((f"{name} {path}", answer.status))
        return {"asked": asked, "counted": _since(before)}


def real(claude: str) -> dict[str, Any]:
    """Real vLLM behind real LiteLLM, and one turn of real Claude Code with what `env` exports."""
    from tests.fakes import claude as client

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        before = _counted()
        with stack.up(root / "s", stack.real_config()) as chain:
            asked = _exercise(chain)
            servers = _since(before)
            env = chain.env() | {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32"}  # it rambles to the limit
            turn = client.run(Path(claude), "say hi", home=root / "home", cwd=root / "work", env=env, timeout=300)
        return {
            "asked": asked,
            "counted": servers,
            "with_claude": _since(before),
            "claude": {"seconds": turn.seconds, "code": turn.code, "out": turn.out[:4000], "err": turn.err[:2000]},
        }


def main() -> None:
    """Bring loopback up and run the scenario that argv names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _UP_RUNNING))
    scenarios: dict[str, Callable[..., dict[str, Any]]] = {
        "attempts": attempts,
        "scripted": scripted,
        "routed": routed,
        "real": real,
    }
    print(json.dumps(scenarios[sys.argv[1]](*sys.argv[2:])))


if __name__ == "__main__":
    main()
