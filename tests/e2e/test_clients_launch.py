"""Real clients, each by one word: `launch` starts the stack, the client edits a file through real LiteLLM, in a hostile HOME.

docs/CLIENTS.md is written by this run (`make clients-doc`); without that, the run checks that it still tells the truth.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import clients
from tests.fakes.ports import free_port
from tests.fakes.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
STACKCTL = Path(sys.executable).with_name("stackctl")
ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "CLIENTS.md"
WRITE = "STACKCTL_WRITE_CLIENTS_DOC"
WINDOW, OUTPUT = 65536, 16384
MODEL = "scripted-coder"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FILES = {
    "dot.png": base64.b64decode(PIXEL),
    "paper.pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R/Size 4>>\n%%EOF\n",
}


class Elsewhere:
    """A listener that stands for the world: whoever connects was not sent to our gateway."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.visits: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                visitor, _ = self._socket.accept()
            except OSError:
                return
            with visitor:
                visitor.settimeout(2)
                try:
                    self.visits.append(visitor.recv(200))
                except OSError:
                    self.visits.append(b"")

    def close(self) -> None:
        self._socket.close()


@dataclass
class Place:
    """A stack that is not up yet, and where each client works."""

    root: Path
    config: Path
    record: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.root / "state"

    def work(self, row: clients.Row) -> Path:
        return self.root / "work" / row.id

    def run(self, *arguments: str, env: dict[str, str], cwd: Path, timeout: float = 300, stdin: str = "") -> subprocess.CompletedProcess[str]:  # fmt: skip
        return subprocess.run(
            [str(STACKCTL), *arguments], env={"STACKCTL_HOME": str(self.state), **env}, cwd=cwd, input=stdin,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def asked(self, mark: str) -> list[dict[str, Any]]:
        """The requests for an answer that hold `mark`."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        found = [json.loads(line) for line in lines if mark in line]
        return [each for each in found if each["method"] == "POST" and "count_tokens" not in each["path"]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, gateway_python: str) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("clients")
    made = Place(root, root / "stack.yaml", root / "record.jsonl")
    turns = []
    for row in clients.ROWS:
        made.work(row).mkdir(parents=True)
        turns += clients.turns(row, row.id, str(made.work(row) / "hello.py"))
    turns.append({"when": {"any": "wait-for-ever"}, "reply": [{"text": "Wait"}, {"silence": 900.0}, {"text": "ed."}]})
    for mark, file in (("look-at-it", "dot.png"), ("read-the-paper", "paper.pdf")):
        (root / file).write_bytes(FILES[file])
        read = {"tool": "Read", "input": {"file_path": str(root / file)}}
        once = {"any": mark, "has_tool": "Read", "tool_result": False}
        turns.append({"when": {**once, "last": mark}, "times": 1, "reply": [read]})
    # Claude Code shows the tool only when its ToolSearch was asked for it
    asks = {"any": "search-it", "has_tool": "ToolSearch"}
    load = {"tool": "ToolSearch", "input": {"query": "select:WebSearch"}}
    search = {"tool": "WebSearch", "input": {"query": "vllm"}}
    turns += [{"when": asks, "times": 1, "reply": [each]} for each in (load, search)]
    turns.append({"when": {"result": "web_search is not available"}, "reply": [{"text": "There is no search."}]})
    turns.append({"when": {"last": "and-then"}, "reply": [{"text": "We go on."}]})
    turns.append({"when": {"any": "reads text only"}, "reply": [{"text": "I have not seen it."}]})
    turns.append({"when": {"any": "pass-it-on"}, "reply": [{"text": "I have read it."}]})
    (root / "turns.json").write_text(json.dumps({"turns": turns}))
    engine, gateway = free_port(), free_port()
    command = [sys.executable, str(ROOT / "tests" / "fakes" / "engine.py"), "--fake-script", str(root / "turns.json"), "--fake-record", str(made.record)]  # fmt: skip
    made.config.write_text(json.dumps({
        "engines": {"main": {"model": MODEL, "command": command, "port": engine, "max_model_len": WINDOW,
                             "args": {"enable-auto-tool-choice": True, "tool-call-parser": "hermes"}}},
        "gateway": {"port": gateway, "python": gateway_python},
    }))  # fmt: skip
    try:
        yield made
    finally:
        made.run("down", env={"PATH": os.environ["PATH"]}, cwd=root)


def hostile(home: Path, work: Path, url: str) -> dict[str, str]:
    """A HOME whose every file sends the clients elsewhere, and the environment that goes with it."""
    files = {
        ".claude/settings.json": json.dumps({
            "env": {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": "sk-theirs", "ANTHROPIC_API_KEY": "sk-ant-theirs",
                    "CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BEDROCK_BASE_URL": url},
            "permissions": {"allow": ["Bash(ls:*)"]}, "apiKeyHelper": "echo sk-helper",
        }),
        ".codex/config.toml": f'model = "gpt-5"\nmodel_provider = "other"\n[model_providers.other]\nname = "other"\nbase_url = "{url}/v1"\nwire_api = "responses"\n',
        ".config/opencode/opencode.json": json.dumps({"$schema": "https://opencode.ai/config.json", "model": "other/x", "enabled_providers": ["other"], "agent": {"build": {"model": "other/x"}}, "provider": {"other": {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": f"{url}/v1"}, "models": {"x": {}}}}}),
        ".qwen/settings.json": json.dumps({"$version": 4, "security": {"auth": {"selectedType": "anthropic"}}, "model": {"name": "x"}}),
        ".bashrc": f"export ANTHROPIC_BASE_URL={url}\n",
        "notes.txt": "mine\n",
    }  # fmt: skip
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (work / ".claude").mkdir(parents=True, exist_ok=True)
    (work / ".claude" / "settings.local.json").write_text(json.dumps({"env": {"ANTHROPIC_MODEL": "claude-opus-4-8"}}))
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), url)
    return {
        **proxies,
        "NO_PROXY": "corp.example",
        "ANTHROPIC_API_KEY": "sk-ant-shell",
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_USE_VERTEX": "1",
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "sk-openai-theirs",
        "OPENAI_MODEL": "gpt-5",
    }


OWN_FILES = {  # what is said of each client's own hostile file
    "codex": '.codex/config.toml sets model to "gpt-5", model_provider to "other"; the stack\'s value wins here',
    "opencode": "opencode.json sets model to other/x, agent.build.model to other/x, enabled_providers: the stack's value wins",
    "qwen": ".qwen/settings.json sets the login to anthropic, the model to x: the stack's value wins here",
}


@pytest.mark.parametrize("row", clients.ROWS, ids=lambda row: row.id)
def test_a_client_edits_a_file_by_one_word(place: Place, row: clients.Row, tmp_path: Path) -> None:
    path = clients.path_of(row)
    work, home, tmp = place.work(row), tmp_path / "home", tmp_path / "tmp"
    tmp.mkdir()
    home.mkdir()
    (work / "hello.py").write_text(clients.BEFORE)
    elsewhere = Elsewhere()
    trap = hostile(home, work, elsewhere.url)
    kept = {each: each.read_bytes() for each in home.rglob("*") if each.is_file()}
    before = clients.fingerprint(home, row.own)
    first = not (place.state / "stacks").exists()
    environ = {**trap, "PATH": path, "HOME": str(home), "TMPDIR": str(tmp), "DISABLE_AUTOUPDATER": "1", "TERM": "dumb"}
    task = f"Change the greeting in {work / 'hello.py'} ({row.id})"
    began = time.monotonic()
    done = place.run(
        "launch", row.name, "--yes", "-c", str(place.config), "--", *row.arguments(task), env=environ, cwd=work
    )
    seconds = time.monotonic() - began
    elsewhere.close()
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert (work / "hello.py").read_text() == clients.AFTER, said
    if first:
        assert "ready: a real token came through the gateway" in done.stderr
    # it was our gateway that answered, under the engine's own name, and nobody else was asked over http
    asked = place.asked(row.id)
    assert len(asked) >= 3
    assert {each["body"]["model"] for each in asked} == {MODEL}
    strangers = [each for each in elsewhere.visits if not each.startswith(b"CONNECT")]
    assert strangers == []
    # what was in the way is said, and no key is
    assert "HTTP_PROXY, and NO_PROXY does not except loopback" in done.stderr
    if row.name == "claude":
        for what in ("settings.json sets ANTHROPIC_BASE_URL", "settings.local.json sets ANTHROPIC_MODEL", "sets CLAUDE_CODE_USE_VERTEX", "names an apiKeyHelper", ".bashrc line 1"):  # fmt: skip
            assert what in done.stderr
    else:
        assert "your environment sets OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL: not used" in done.stderr
        assert OWN_FILES[row.name] in done.stderr
    key = (place.state / "stacks" / "default" / "client.key").read_text().strip()
    for secret in (key, "sk-theirs", "sk-ant-theirs", "sk-ant-shell"):
        assert secret not in said
    if row.name == "claude":  # the model is not offered what cannot work, and /model knows what the gateway serves
        assert "WebSearch" not in {tool["name"] for each in asked for tool in each["body"].get("tools", [])}
        if row.locks is None:
            assert "claude-local" in (home / ".claude" / "cache" / "gateway-models.json").read_text()
    # nothing of the user's has changed, nothing of ours is in HOME or in the temporary directory
    assert clients.fingerprint(home, row.own) == before
    assert {each: each.read_bytes() for each in kept} == kept
    assert not [each for each in tmp.rglob("*") if "stackctl" in each.name]
    assert _held(home, key) == []
    place.rows.append(measured(row, done.stdout, home, asked, elsewhere.visits))
    print(f"{row.id}: {seconds:.1f} s, {len(asked)} requests; {place.rows[-1]}")


def _held(home: Path, key: str) -> list[str]:
    """Files below HOME in which the client has left the key."""
    return [
        each.relative_to(home).as_posix()
        for each in home.rglob("*")
        if each.is_file() and key.encode() in each.read_bytes()
    ]


def measured(
    row: clients.Row, out: str, home: Path, asked: list[dict[str, Any]], visits: list[bytes]
) -> dict[str, str]:
    """One row of the table, from what was seen."""
    window = "not reported"
    if row.name == "claude":
        usage = json.loads(out)["modelUsage"]
        (name,) = usage
        assert name == ("claude-local" if row.locks is None else "anthropic-local")
        window = str(usage[name]["contextWindow"])
        assert window == str(WINDOW)
    elif row.name == "codex":
        text = "".join(each.read_text() for each in (home / ".codex" / "sessions").rglob("*.jsonl"))
        found = set(re.findall(r'"model_context_window":(\d+)', text))
        window = ", ".join(sorted(found))
        assert found == {str(WINDOW * 95 // 100)}, "Codex keeps 5 % of the window for itself"
    limits = {each["body"].get("max_tokens") or each["body"].get("max_output_tokens") for each in asked}
    assert max(limits) <= OUTPUT
    hosts = {each.split()[1].decode() for each in visits if each.startswith(b"CONNECT")}
    return {
        "client": {"claude": "Claude Code", "codex": "Codex", "opencode": "OpenCode", "qwen": "Qwen Code"}[row.name],
        "version": row.version,
        "edits": "yes",  # else this is not reached
        "protocol": ", ".join(sorted({each["path"] for each in asked})),
        "window": window,
        "limit": ", ".join(sorted(map(str, limits))),
        "elsewhere": ", ".join(sorted(hosts)) or "nobody",
    }


def table(rows: list[dict[str, str]]) -> str:
    head = ["Client", "Version", "Two tool calls edit a file", "Protocol at the engine", "Window it works with", "Output limit it sends", "Who else it tried to reach"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    keys = ("client", "version", "edits", "protocol", "window", "limit", "elsewhere")
    lines += [f"| {' | '.join(row[key] for key in keys)} |" for row in rows]
    return "\n".join(lines)


# --- its own terminal


def _environ(row: clients.Row, home: Path) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": clients.path_of(row), "HOME": str(home), "DISABLE_AUTOUPDATER": "1", "TERM": "xterm"}


def _launch(place: Place, row: clients.Row, *arguments: str) -> list[str]:
    return [str(STACKCTL), "launch", row.name, "--yes", "-c", str(place.config), "--", *arguments]


def test_ctrl_c_ends_clients_that_run_at_once_as_it_ends_them_without_us(place: Place, tmp_path: Path) -> None:
    """In the middle of an answer, each in a terminal of its own; then the same client by `env` alone, for comparison."""
    rows = {row.name: row for row in reversed(clients.ROWS)}  # of Claude Code the newest
    words = {
        "claude": ["-p", "wait-for-ever claude"],
        "codex": ["exec", "--skip-git-repo-check", "wait-for-ever codex"],
        "opencode": ["run", "wait-for-ever opencode"],
        "qwen": ["-p", "wait-for-ever qwen"],
    }
    ended: dict[str, dict[str, int]] = {}
    again: set[str] = set()  # OpenCode 1.18 was once seen to stay after the first one; a person presses it again
    place.run("launch", "claude", "--yes", "-c", str(place.config), "--", "--version", env=_environ(rows["claude"], tmp_path / "first"), cwd=tmp_path)  # fmt: skip
    for how in ("launch", "env"):
        open_: dict[str, Terminal] = {}
        for name, row in rows.items():
            home = tmp_path / how / name
            environ = {**_environ(row, home), "STACKCTL_HOME": str(place.state)}
            argv = _launch(place, row, *words[name])
            if how == "env":
                dry = place.run("launch", name, "--dry-run", env=environ, cwd=home)
                _, *ours = shlex.split(dry.stdout.splitlines()[-1])
                line = f'eval "$({STACKCTL} env --client {name} --shell sh)"; exec {name} "$@"'
                argv = ["/bin/sh", "-c", line, "sh", *ours, *words[name]]
            before = len(place.asked(words[name][-1]))
            open_[name] = Terminal(argv, environ, home)
            _answering(place, words[name][-1], before, open_[name])
        for name, terminal in open_.items():
            terminal.type(b"\x03")
            if name == "opencode" and not terminal.ends(30):
                again.add(name)
                terminal.type(b"\x03")
            ended.setdefault(name, {})[how] = terminal.end(120)
            terminal.close()
    same = ended.keys() - again
    assert {name: ended[name]["launch"] for name in same} == {name: ended[name]["env"] for name in same}
    print(f"exit codes after Ctrl-C: {ended}")


def _answering(place: Place, mark: str, before: int, terminal: Terminal) -> None:
    """Wait until the engine has one more request with `mark`."""
    ends = time.monotonic() + 180
    while len(place.asked(mark)) <= before:
        assert time.monotonic() < ends, terminal.seen
        terminal.drain(0.05)


_SEQUENCE = re.compile(r"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b\][^\x07]*\x07|\x1b[()=>78M]|\s")


def _shown(terminal: Terminal, since: int, *words: str) -> None:
    """Wait until the screen has shown `words`, without spaces: they are drawn by moving the cursor."""
    ends = time.monotonic() + 120
    while not all(word in _SEQUENCE.sub("", terminal.seen[since:]) for word in words):
        assert time.monotonic() < ends, f"{words} not in {_SEQUENCE.sub('', terminal.seen[since:])!r}"
        terminal.drain(0.1)


def _redrawn(terminal: Terminal, *words: str) -> None:
    """The same for a screen that is drawn over another: what stands in its place already is not drawn again.

    Another width has it drawn anew.
    """
    ends, columns = time.monotonic() + 120, 0
    while True:
        since, columns = len(terminal.seen), 140 + (columns + 1) % 20
        terminal.resize(40, columns)
        for _ in range(10):
            terminal.drain(0.2)
            if all(word in _SEQUENCE.sub("", terminal.seen[since:]) for word in words):
                return
        assert time.monotonic() < ends, f"{words} not in {_SEQUENCE.sub('', terminal.seen[since:])!r}"


def test_the_interactive_client_is_whole(place: Place, tmp_path: Path) -> None:
    """Claude Code's own screen: it answers, follows the window's size, lists the true model, and ends by its own keys."""
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    environ = {**_environ(clients.ROWS[0], home), "TERM": "xterm-256color", "STACKCTL_HOME": str(place.state)}
    known = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    welcome = {"hasCompletedOnboarding": True, "theme": "dark", "projects": {str(work): known}}
    (home / ".claude.json").write_text(json.dumps(welcome))
    terminal = Terminal(_launch(place, clients.ROWS[0]), environ, work)
    try:
        terminal.resize(40, 100)
        _shown(terminal, 0, "claude-local", "\u276f")
        since = len(terminal.seen)
        terminal.resize(40, 150)
        _shown(terminal, since, "─" * 150)
        since = len(terminal.seen)
        terminal.type(b"pass-it-on")
        _shown(terminal, since, "pass-it-on")
        terminal.type(b"\r")
        _shown(terminal, since, "Ihavereadit.")
        since = len(terminal.seen)
        terminal.type(b"/model")
        _shown(terminal, since, "Switchmodel(currentlyclaude-local)")
        terminal.type(b"\r")
        _redrawn(terminal, f"{MODEL}inplaceofOpus", f"{MODEL}onyourownstack", "Selectmodel")
        terminal.type(b"\x1b")
        ends = time.monotonic() + 120
        while terminal.code is None:  # twice within its own moment, as a person does
            assert time.monotonic() < ends, terminal.seen[-2000:]
            terminal.type(b"\x03")
            terminal.drain(0.3)
            terminal.look()
        assert terminal.code == 0
    finally:
        terminal.close()


@pytest.mark.parametrize("row", [each for each in clients.ROWS if each.locks is None or each.name != "claude"], ids=lambda row: row.id)  # fmt: skip
def test_the_users_own_mcp_servers_are_still_there(place: Place, row: clients.Row, tmp_path: Path) -> None:
    home = tmp_path / "home"
    files = {
        "claude": (".claude.json", json.dumps({"mcpServers": {"my-own-server": {"type": "stdio", "command": "/bin/true"}}})),
        "codex": (".codex/config.toml", '[mcp_servers.my-own-server]\ncommand = "/bin/true"\n'),
        "opencode": (".config/opencode/opencode.json", json.dumps({"$schema": "https://opencode.ai/config.json", "mcp": {"my-own-server": {"type": "local", "command": ["/bin/true"]}}})),
        "qwen": (".qwen/settings.json", json.dumps({"$version": 4, "mcpServers": {"my-own-server": {"command": "/bin/true"}}})),
    }  # fmt: skip
    name, text = files[row.name]
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text(text)
    done = place.run("launch", row.name, "--yes", "-c", str(place.config), "--", "mcp", "list", env=_environ(row, home), cwd=tmp_path)  # fmt: skip
    assert "my-own-server" in done.stdout + done.stderr


def test_piped_stdin_without_a_terminal(place: Place, tmp_path: Path) -> None:
    row = clients.ROWS[0]
    done = place.run(
        "launch", "claude", "--yes", "-c", str(place.config), "--", "-p", env=_environ(row, tmp_path / "home"),
        cwd=tmp_path, stdin="pass-it-on, please",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "I have read it.\n"), done.stderr


def test_the_users_own_settings_and_model_win(place: Place, tmp_path: Path) -> None:
    own = json.dumps({"env": {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "777"}})
    done = place.run(
        "launch", "claude", "--yes", "-c", str(place.config), "--", "-p", "pass-it-on (mine)", "--settings", own, "--model",
        MODEL, "--output-format", "json", env=_environ(clients.ROWS[0], tmp_path / "home"), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "your --settings JSON is merged over the stack's, which wins for CLAUDE_CODE_MAX_OUTPUT_TOKENS" in done.stderr
    )
    assert f"your --model {MODEL} wins over claude-local" in done.stderr
    usage = json.loads(done.stdout)["modelUsage"]
    assert {name: each["contextWindow"] for name, each in usage.items()} == {MODEL: WINDOW}
    assert [each["body"]["max_tokens"] for each in place.asked("pass-it-on (mine)")] == [777]


@pytest.mark.parametrize(("mark", "refused"), [("look-at-it", 1), ("read-the-paper", 0)])
def test_a_picture_or_a_pdf_does_not_end_the_conversation(
    place: Place, tmp_path: Path, mark: str, refused: int
) -> None:
    """Claude Code reads one with its own tool. The engine refuses the first picture that it gets: nobody knows this model."""
    environ, seen = _environ(clients.ROWS[0], tmp_path / "home"), len(place.asked(mark))
    said = []
    for words in ([mark], ["--continue", f"and-then, after {mark}?"]):
        done = place.run(
            "launch", "claude", "--yes", "-c", str(place.config), "--", "-p", "--permission-mode", "acceptEdits",
            "--allowedTools=Read", *words, env=environ, cwd=tmp_path,
        )  # fmt: skip
        said.append((done.returncode, done.stdout.strip()))
    asked = len(place.asked(mark)) - seen
    print(f"{mark}: {said}, {asked} requests")
    assert said == [(0, "I have not seen it."), (0, "We go on.")]
    assert asked <= 3 + refused


def test_a_search_by_env_alone_ends_in_one_sentence(place: Place, tmp_path: Path) -> None:
    """`launch` denies the tool; `env` cannot."""
    environ = {**_environ(clients.ROWS[0], tmp_path / "home"), "STACKCTL_HOME": str(place.state)}
    place.run("launch", "claude", "--yes", "-c", str(place.config), "--", "--version", env=environ, cwd=tmp_path)
    line = f'eval "$({STACKCTL} env --shell sh)"; exec claude -p search-it --allowedTools WebSearch'
    done = subprocess.run(["/bin/sh", "-c", line], env=environ, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "There is no search.\n"), done.stderr
    assert len(place.asked("search-it")) == 3  # the search itself never reached the engine


def test_the_table_in_the_docs_is_what_was_just_measured(place: Place) -> None:
    if os.environ.get(WRITE):
        assert len(place.rows) == len(clients.ROWS), "the table is only written by a run of all clients"
        text = DOC.read_text()
        head, begin, rest = text.partition("<!-- table -->\n")
        _, end, tail = rest.partition("<!-- /table -->")
        DOC.write_text(f"{head}{begin}{table(place.rows)}\n{end}{tail}")
    shown = {cells[:-1]: set(cells[-1].split(", ")) for cells in map(_cells, DOC.read_text().splitlines()) if cells}
    for line in table(place.rows).splitlines():
        *facts, reached = _cells(line)
        assert tuple(facts) in shown, f"docs/CLIENTS.md is out of date (make clients-doc): {line}"
        new = set(reached.split(", ")) - shown[tuple(facts)] - {"nobody"}  # a fetch in the background may not happen
        assert not new, f"docs/CLIENTS.md does not say that {facts[0]} reaches for {new} (make clients-doc)"


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|")) if line.startswith("|") else ()
