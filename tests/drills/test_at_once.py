"""Commands that meet a stack while another one starts or stops it: they wait, or join it, and say what is so."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest

from stackctl import supervise
from stackctl.errors import StackError
from stackctl.model import ClientFacts
from stackctl.supervise import Order
from stackctl.verify import Target
from tests.fakes.home import Home, until
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.drill


def _begin(home: Home, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        home.argv(*words), env=home.environment(), cwd=home.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_starts_of_a_new_stack_at_once_are_one_stack(home: Home) -> None:
    """Each had chosen free ports of its own, and all but one were told that another plan runs."""
    file = home.config("fresh")
    home.started.append("fresh")
    begun = [_begin(home, "up", "-d", "--yes", "--json", "-c", file) for _ in range(4)]
    said = [each.communicate(timeout=240) for each in begun]
    assert [each.returncode for each in begun] == [0] * len(begun), said
    urls = {json.loads(stdout)["data"]["client"]["url"] for stdout, _ in said}
    assert urls == {home.data("status", "--name", "fresh")["gateway_url"]}


def test_a_start_during_the_end_waits_for_it(home: Home) -> None:
    before = home.up()
    state = home.state / "stacks" / "default" / "state.json"
    ending = _begin(home, "down")
    until(lambda: not state.exists() or '"stopping"' in state.read_text(), 20, "it is being stopped")
    home.run("up", "-d", "--yes", "-c", "default.yaml")
    _, said = ending.communicate(timeout=240)
    assert ending.returncode == 0, said
    after = home.data("status")
    assert (after["state"], after["gateway_url"]) == ("ready", before["gateway_url"])
    assert after["supervisor"] != before["supervisor"]


def test_a_key_that_was_replaced_during_the_start_is_not_the_old_one_again(home: Home) -> None:
    """The gateway would have gone on asking for the old key, and refused the new one."""
    paths = home.paths()
    (home.state / "stacks" / "default").mkdir(parents=True, mode=0o700)
    home.state.chmod(0o700)
    with open(paths.client_key, "x", encoding="utf-8") as key:
        key.write("sk-stackctl-new-one\n")
    client = ClientFacts("http://127.0.0.1:1", "m", "m", 4096, 1024)
    order = Order("default", "digest", client.url, (), Target(client, "sk-stackctl-old-one", ()), (), {}, None)
    with pytest.raises(StackError, match="the client key was replaced while the stack was being started"):
        supervise.supervisor(order, lambda _event: None).run()
    assert sorted(each.name for each in (home.state / "stacks" / "default").iterdir()) == ["client.key", "lock", "logs"]


def test_a_supervisor_that_is_stopped_before_it_listens_was_stopped(home: Home) -> None:
    """`up -d` said of a `down` in that moment that the supervisor had ended without a word."""
    home.started.append("default")
    file = home.config(port=free_port())
    config = json.loads(file.read_text())
    config["engines"]["main"]["command"] += ["--fake-fault", "hang"]  # so that it is still starting when we look
    file.write_text(json.dumps(config))
    beginning = _begin(home, "up", "-d", "--yes", "-c", file)
    try:
        until(lambda: _supervisors(beginning.pid), 20, "its supervisor has begun")
        for each in _supervisors(beginning.pid):
            each.terminate()
        _, said = beginning.communicate(timeout=240)
        assert beginning.returncode == 128 + signal.SIGTERM, said
    finally:
        beginning.kill()
        beginning.wait()


def _supervisors(pid: int) -> list[psutil.Process]:
    found = []
    for each in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):  # it has ended
            if each.cmdline()[2:4] == ["-m", "stackctl.supervise"]:
                found.append(each)
    return found
