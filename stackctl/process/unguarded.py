"""Programs that are the user's own: the supervisor that outlives us, a client in our place, a client in front of us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

from stackctl.errors import StackError
from stackctl.process.logs import open_log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def detach(
    argv: Sequence[str], *, order: bytes, log: str, env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program that outlives us, in a session of its own; return it and the read end of its events.

    It reads `order` from stdin, gets the descriptor of its event pipe as last argument, and appends what it prints to
    `log`. Raises StackError when it cannot be started.
    """
    try:
        output = open_log(log)
    except OSError as error:
        raise StackError(f"cannot write the log {log}: {error.strerror}", remedy=f"rm {log}") from error
    events, write = os.pipe()
    try:
        child = subprocess.Popen(
            [*argv, str(write)], stdin=subprocess.PIPE, stdout=output, stderr=output, env=dict(env), cwd="/",
            pass_fds=(write,), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        os.close(events)
        raise StackError(f"cannot start the supervisor: {error.strerror}", remedy="install stackctl again") from error
    finally:
        os.close(write)
        os.close(output)
    with contextlib.suppress(BrokenPipeError):  # it died at once: its events end, and its log says why
        assert child.stdin is not None  # noqa: S101 - PIPE above
        with child.stdin as stdin:
            stdin.write(order)
    return child, events


def become(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program: terminal, signals and exit code are its own. Raises StackError when it cannot."""
    sys.stdout.flush()
    sys.stderr.flush()
    for each in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so over exec
        signal.signal(each, signal.SIG_DFL)
    try:
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - a list, no shell
    except OSError as error:
        raise StackError(f"cannot start {argv[0]}: {error.strerror}", remedy=f"is {argv[0]} a program?") from error


def attend(argv: Sequence[str], env: Mapping[str, str]) -> int:
    r"""Run a program in the foreground as its parent; return its exit code, 128 + n when signal n ended it.

    It shares our process group, so the terminal's Ctrl-C and Ctrl-\ reach it by themselves, and we outlive them; TERM
    and HUP are handed on; when it stops (Ctrl-Z) we stop too, so that the shell gets its terminal back. There is no
    deadline: it is the user's own session. Raises StackError when it cannot be started.
    """
    child: subprocess.Popen[bytes] | None = None

    def hand_on(signum: int, _frame: object) -> None:
        if child is not None and signum in {signal.SIGTERM, signal.SIGHUP}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signum)

    watched = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, hand_on) for each in watched}  # a handler, unlike SIG_IGN, is not inherited
    try:
        try:
            child = subprocess.Popen(list(argv), env=dict(env))
        except OSError as error:
            raise StackError(f"cannot start {argv[0]}: {error.strerror}", remedy=f"is {argv[0]} a program?") from error
        while True:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                child.returncode = os.waitstatus_to_exitcode(status)
                break
            os.kill(os.getpid(), signal.SIGSTOP)
            os.kill(child.pid, signal.SIGCONT)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode
