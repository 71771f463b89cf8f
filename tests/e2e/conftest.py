"""Environments and running stacks that the end-to-end tests share; each is started once for the whole session."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from stackctl import fetch, paths
from stackctl.model import ServiceKind
from stackctl.toolchain import install, locate
from tests.fakes import claude, stack, turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stackctl.toolchain import Toolchain


@pytest.fixture(scope="session", autouse=True)
def shared_envs() -> Iterator[str]:
    """Where every test of the session finds the environments, also one with a state directory of its own.

    STACKCTL_TEST_ENVS names the directory, else it is where stackctl keeps them when the session begins.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STACKCTL_ENVS", os.environ.get("STACKCTL_TEST_ENVS") or paths.envs_dir())
        yield paths.envs_dir()


def _managed(kind: ServiceKind) -> Toolchain:
    found = locate(kind, configured_python=None, accelerator="cpu")
    return found if found.installed else install(found, on_progress=print)


@pytest.fixture(scope="session")
def gateway_python() -> str:
    """The Python of the managed environment that has LiteLLM."""
    return _managed(ServiceKind.GATEWAY).python


@pytest.fixture(scope="session")
def embedded_model() -> str:
    """The directory of the embedded model, and so also an environment that has vLLM's CPU build."""
    return fetch.embedded(_managed(ServiceKind.ENGINE), on_progress=print)


@pytest.fixture(scope="session")
def claude_code() -> Path:
    """The program of real Claude Code."""
    return claude.install()


@pytest.fixture(scope="session")
def real_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    """Real vLLM behind real LiteLLM."""
    with stack.up(tmp_path_factory.mktemp("real"), stack.real_config()) as found:
        yield found


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    """The scripted engine, without a reasoning parser, behind real LiteLLM."""
    with stack.scripted_stack(tmp_path_factory.mktemp("scripted"), turns.TURNS) as found:
        yield found


@pytest.fixture(scope="session")
def reasoning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    """The same with a reasoning parser, which the gateway is told of."""
    root = tmp_path_factory.mktemp("reasoning")
    with stack.scripted_stack(root, turns.TURNS, reasoning_parser="qwen3") as found:
        yield found
