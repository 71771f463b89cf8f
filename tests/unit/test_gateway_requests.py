"""The gateway's record of what it was asked: what stands in it, what never does, and that it cannot get in the way."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import redact
from stackctl.checks import asked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """gateway_requests as LiteLLM has it: with the redaction beside it, under the name of the rendered file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "stackctl_redact", redact)
        from stackctl import gateway_requests

        return gateway_requests


Send = Any


def exchange(module: ModuleType, path: Path, app: Callable[..., Any], body: bytes = b"{}", **more: Any) -> list[Any]:
    """One POST through the recorder to `app`; what the client was sent."""
    sent: list[Any] = []
    incoming = more.pop("incoming", [{"type": "http.request", "body": body}])

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": [(b"user-agent", b"claude-cli/2.1.330 (x)")], **more}  # fmt: skip
    recorder = module.Recorder(app, module.Log(str(path)))
    asyncio.run(recorder(scope, receive, send))
    return sent


def answering(status: int, *parts: bytes) -> Callable[..., Any]:
    """An application that reads the request and answers in `parts`."""

    async def app(_scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": []})
        for at, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": at < len(parts) - 1})

    return app


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_request_is_a_line_without_its_content(module: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "requests.jsonl"
    body = b'{"messages": [{"role": "user", "content": "the CANARY of a prompt"}]}'
    sent = exchange(module, record, answering(200, b'{"content": "the CANARY of an ', b'answer"}'), body)
    assert [each.get("body") for each in sent] == [None, b'{"content": "the CANARY of an ', b'answer"}']
    (line,) = lines(record)
    assert (line["path"], line["status"], line["end"], line["bytes"]) == ("/v1/messages", 200, "whole", len(body))
    assert line["agent"].startswith("claude-cli/")
    assert "CANARY" not in record.read_text()
    assert record.stat().st_mode & 0o777 == 0o600


def test_the_same_request_has_the_same_mark_however_it_is_cut(module: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "requests.jsonl"

    async def reading(_scope: Any, receive: Any, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    exchange(module, record, reading, b"one request")
    halves = [
        {"type": "http.request", "body": b"one ", "more_body": True},
        {"type": "http.request", "body": b"request"},
    ]
    exchange(module, record, reading, incoming=halves)
    exchange(module, record, reading, b"another request")
    first, second, third = (each["request"] for each in lines(record))
    assert first == second
    assert first != third


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (500, b'{"error": {"message": "EngineCore encountered an issue.", "type": "x"}}', "EngineCore encountered an issue."),
        (401, b'{"error":"Unauthorized"}', "Unauthorized"),
        (404, b'{"detail": "Not Found"}', "Not Found"),
        (500, b"Internal Server Error", "Internal Server Error"),
        (400, b'{"error": {"message": "key sk-abcdefghijklmnop is wrong"}}', "key sk-<redacted> is wrong"),
        (400, b'{"error": {"message": "bad: {\'input\': {\'content\': \'CANARY\'}} and CANARY"}}', "bad: {'input': ..."),
        (400, b'{"error": {"message": "no {\'type\': \'literal_error\', \'input\': \'document\'}"}}', "no {'type': 'literal_error', 'input': 'document'}"),
        (200, b'event: error\ndata: {"error": {"message": "broke off"}}\n\n', "broke off"),
        (200, b'data: {"error": {"message": "broke off"}}\n\n', "broke off"),
        (200, b'event: content_block_delta\ndata: {"delta": {"text": "error"}, "message": "CANARY"}\n\n', None),
        (200, b'data: {"text": "\\nevent: error\\ndata: {\\"error\\": \\"CANARY\\"}"}\n\n', None),
    ],
)  # fmt: skip
def test_an_error_is_told_in_short_and_nothing_else_is(
    module: ModuleType, tmp_path: Path, status: int, answer: bytes, said: str | None
) -> None:
    record = tmp_path / "requests.jsonl"
    exchange(module, record, answering(status, answer))
    (line,) = lines(record)
    assert line.get("error") == said
    assert "CANARY" not in record.read_text()


def test_an_endless_error_is_cut(module: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "requests.jsonl"
    exchange(module, record, answering(500, *[b"x" * 10_000] * 20))
    assert len(lines(record)[0]["error"]) == 400


def test_an_answer_without_an_end_and_a_client_that_leaves_are_told_apart(module: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "requests.jsonl"

    async def breaks(_scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        exchange(module, record, breaks)

    async def waits(_scope: Any, receive: Any, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            await send({"type": "http.response.start", "status": 200, "headers": []})

    exchange(module, record, waits)
    assert [each["end"] for each in lines(record)] == ["cut", "left"]


@pytest.mark.parametrize(
    ("last", "end"),
    [
        (b'event: message_stop\ndata: {"type": "message_stop"}\n\n', "whole"),
        (b"data: [DONE]\n\n", "whole"),
        (b"event: response.completed\ndata: {}\n\n", "whole"),
        (b'event: content_block_delta\ndata: {"delta": {}}\n\n', "cut"),
    ],
)
def test_a_stream_is_whole_only_with_its_last_event(module: ModuleType, tmp_path: Path, last: bytes, end: str) -> None:
    record = tmp_path / "requests.jsonl"
    middle = len(last) // 2
    parts = [b"event: message_start\ndata: {}\n\n", last[:middle], last[middle:], b""]

    async def app(_scope: Any, receive: Any, send: Send) -> None:
        await receive()
        kind = (b"Content-Type", b"text/event-stream; charset=utf-8")
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        for at, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": at < len(parts) - 1})
        await receive()  # the connection ends: too late to count as a client that left

    exchange(module, record, app)
    assert lines(record)[0]["end"] == end


def test_the_record_never_grows_beyond_its_two_halves(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    log = module.Log(str(path), 2000)
    for number in range(200):
        log.write({"number": number, "filling": "x" * 50})
    old = tmp_path / "requests.jsonl.old"
    assert path.stat().st_size <= 2000
    assert old.stat().st_size <= 2000
    numbers = [each["number"] for each in lines(old) + lines(path)]
    assert numbers == list(range(numbers[0], 200))


def test_a_record_that_cannot_be_written_stops_nothing(module: ModuleType, tmp_path: Path) -> None:
    for path in ("/dev/full", str(tmp_path / "missing" / "requests.jsonl"), ""):
        log = module.Log(path)
        log.write({"a": 1})
        log.write({"a": 2})
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "target")
    module.Log(str(link)).write({"a": 1})
    assert not (tmp_path / "target").exists()


def test_a_line_takes_microseconds(module: ModuleType, tmp_path: Path) -> None:
    log = module.Log(str(tmp_path / "requests.jsonl"))
    entry = {"at": time.time(), "path": "/v1/messages", "error": "x" * 400}
    began = time.process_time()
    for _ in range(1000):
        log.write(entry)
    assert time.process_time() - began < 1  # 20 ms measured


def test_the_record_is_read_back_without_our_own_questions_and_torn_lines(module: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "requests.jsonl"
    exchange(module, record, answering(500, b"Internal Server Error"))
    exchange(module, record, answering(200, b"{}"), headers=[(b"user-agent", b"stackctl doctor")])
    os.rename(record, f"{record}.old")
    with record.open("w") as stream:
        stream.write('{"at": 17\n[]\n\n')
    exchange(module, record, answering(200, b"{}"), b"second")
    first, second = asked.recorded(str(record))
    assert (first.status, first.failed, first.client, first.error) == (
        500,
        True,
        "Claude Code",
        "Internal Server Error",
    )
    assert (second.status, second.failed) == (200, False)
    assert asked.recorded(str(tmp_path / "none")) == ()


def test_only_posts_are_noted(module: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "requests.jsonl"
    exchange(module, record, answering(200, b"{}"), method="GET")
    assert not record.exists()
