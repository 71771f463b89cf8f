"""The configurations of the healthy stacks, and what a fault lays over them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import yaml

from tests.fakes import stack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.case import Case
    from tests.faults.corpus import Fault

MODEL = "Qwen/Qwen3-8B"  # its family is known: hermes reads its calls, qwen3 its thinking
FLAGS = ("--fake-competent", "--fake-control")  # of the scripted engine


def scripted(root: Path, kind: str, faults: list[str]) -> dict[str, Any]:
    """The configuration of the scripted engine with a model that can use tools."""
    config = stack.scripted_config(root, faults=faults)
    engine = config["engines"]["main"]
    engine["model"] = MODEL
    engine["command"] += list(FLAGS)
    config.pop("aliases")
    if kind == "direct":
        config["gateway"]["kind"] = "direct"
    return config


def configure(case: Case, fault: Fault, config: dict[str, Any]) -> None:
    assert case.config is not None
    text = case.fill(fault.raw) or yaml.safe_dump(over(config, filled(case, fault.config)), sort_keys=False)
    case.config.write_text(text)


def by_hand(case: Case, fault: Fault, *, runs: bool) -> Path:
    """A litellm_config.yaml as a careful person writes it, and what the fault changes in it.

    In one that `runs`, no name is asked for by way of `hosted_vllm/`, where tokens are guessed.
    """
    engine = case.words["engine"]
    chat: dict[str, Any] = {"model": f"hosted_vllm/{MODEL}", "api_base": f"{engine}/v1"}
    native: dict[str, Any] = {"model": f"anthropic/{MODEL}", "api_base": engine, "additional_drop_params": ["thinking"]}
    info = {"mode": "chat", "max_input_tokens": stack.WINDOW, "max_output_tokens": 8192}
    config: dict[str, Any] = {
        "model_list": [
            {"model_name": "claude-local", "litellm_params": native, "model_info": info},
            {"model_name": MODEL, "litellm_params": native if runs else chat, "model_info": info},
        ],
        "litellm_settings": {"drop_params": True, "modify_params": True, "request_timeout": 600, "num_retries": 0},
        "router_settings": {"disable_cooldowns": True, "num_retries": 0},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    config = over(config, filled(case, fault.litellm))
    for path in fault.drop:
        *parents, last = path.split(".")
        at: Any = config
        for each in parents:
            at = at[int(each) if isinstance(at, list) else each]
        del at[last]
    file = case.project / "litellm_config.yaml"
    plain = json.loads(json.dumps(config))  # nothing shared: no anchors
    file.write_text(case.fill(fault.raw) or yaml.safe_dump(plain, sort_keys=False))
    case.args += ["-c", str(file)]
    return file


def filled(case: Case, value: Any) -> Any:
    """`value` with the words of the case in its texts; a text that is one whole number becomes it."""
    if isinstance(value, dict):
        return {case.fill(key): filled(case, each) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(case, each) for each in value]
    if isinstance(value, str) and "{" in value:
        text = case.fill(value)
        return int(text) if text.isdecimal() else text
    return value


def over(base: Any, more: Any) -> Any:
    """`more` laid over `base`, mapping by mapping; in lists by number."""
    if isinstance(base, list) and isinstance(more, dict):
        made = copy.deepcopy(base)
        for key, value in more.items():
            made[int(key)] = over(made[int(key)], value)
        return made
    if not isinstance(base, dict) or not isinstance(more, dict):
        return more
    return {**base, **{key: over(base.get(key), value) for key, value in more.items()}}
