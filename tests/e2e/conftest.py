"""Environments and running stacks that the end-to-end tests share; each is started once for the whole session."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from stackctl import paths
from stackctl.model import ServiceKind
from tests.fakes import claude, stack, turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def shared_envs() -> Iterator[str]:
    """Where every test of the session finds the environments, also one with a state directory of its own.

    STACKCTL_TEST_ENVS names the directory, else it is where stackctl keeps them when the session begins.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STACKCTL_ENVS", os.environ.get("STACKCTL_TEST_ENVS") or paths.envs_dir())
        yield paths.envs_dir()


def _python(variable: str, kind: ServiceKind) -> str:
    """The Python of a service: an environment that the caller names, else the managed one."""
    named = os.environ.get(variable)
    if named:
        return named
    from stackctl.toolchain import install, locate

    found = locate(kind, configured_python=None, accelerator="cpu")
    return (found if found.installed else install(found, on_progress=print)).python


@pytest.fixture(scope="session")
def gateway_python() -> str:
    """A Python that has LiteLLM."""
    return _python("STACKCTL_TEST_GATEWAY_PYTHON", ServiceKind.GATEWAY)


@pytest.fixture(scope="session")
def engine_python() -> str:
    """A Python that has vLLM's CPU build."""
    return _python("STACKCTL_TEST_ENGINE_PYTHON", ServiceKind.ENGINE)


@pytest.fixture(scope="session")
def claude_code() -> Path:
    """The program of real Claude Code."""
    return claude.install()


@pytest.fixture(scope="session")
def real_stack(
    tmp_path_factory: pytest.TempPathFactory, engine_python: str, gateway_python: str, embedded_model: str
) -> Iterator[stack.Stack]:
    """Real vLLM behind real LiteLLM."""
    root = tmp_path_factory.mktemp("real")
    with stack.real_stack(
        root, engine_python=engine_python, gateway_python=gateway_python, model=embedded_model
    ) as found:
        yield found


@pytest.fixture(scope="session")
def embedded_model() -> str:
    """The directory of the embedded model."""
    named = os.environ.get("STACKCTL_TEST_MODEL")
    if named:
        return named
    from stackctl import fetch
    from stackctl.toolchain import install, locate

    engine = locate(ServiceKind.ENGINE, configured_python=None, accelerator="cpu")
    return fetch.embedded(engine if engine.installed else install(engine, on_progress=print), on_progress=print)


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory, gateway_python: str) -> Iterator[stack.Stack]:
    """The scripted engine, without a reasoning parser, behind real LiteLLM."""
    root = tmp_path_factory.mktemp("scripted")
    with stack.scripted_stack(root, gateway_python=gateway_python, turns=turns.TURNS) as found:
        yield found


@pytest.fixture(scope="session")
def reasoning(tmp_path_factory: pytest.TempPathFactory, gateway_python: str) -> Iterator[stack.Stack]:
    """The same with a reasoning parser, which the gateway was told of."""
    root = tmp_path_factory.mktemp("reasoning")
    with stack.scripted_stack(root, gateway_python=gateway_python, turns=turns.TURNS, reasoning=True) as found:
        yield found
