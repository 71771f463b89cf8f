"""Repairs of one row of a litellm_config.yaml that somebody wrote: where its parameters stand, and by which provider it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl import yamltext
from stackctl.repair.handmade import deployments, edit, file_of

if TYPE_CHECKING:
    from stackctl.repair.change import Change
    from stackctl.repair.context import Here, Verb

_ROW = {"model_name", "litellm_params", "model_info"}  # what stands in a row itself


def nest(here: Here, name: str) -> Change | None:
    """`litellm.nest NAME`: what stands beside model_name goes under litellm_params; None where no model stands there."""
    text = here.text(file_of(here))
    done = False
    for place, row in deployments(text):
        beside = {key: value for key, value in row.items() if key not in _ROW}
        if row.get("model_name") != name or row.get("litellm_params") or "model" not in beside:
            continue
        for key in (*beside, *(["litellm_params"] if "litellm_params" in row else [])):
            text = yamltext.take(text, [*place, key])
        text = yamltext.put(text, [*place, "litellm_params"], beside)
        done = True
    return edit(here, f"{name}: its parameters under litellm_params", text) if done else None


def native(here: Here, name: str) -> Change | None:
    """`litellm.native NAME`: ask a vLLM by its own /v1/messages (`anthropic/`), which counts tokens, and not by a translation."""
    text = here.text(file_of(here))
    done = False
    for place, row in deployments(text):
        params: dict[str, Any] = row["litellm_params"]
        provider, _, served = str(params.get("model", "")).partition("/")
        base = str(params.get("api_base", "")).rstrip("/")
        if row.get("model_name") != name or provider not in {"hosted_vllm", "openai"} or not base.startswith("http"):
            continue
        wanted: dict[str, Any] = {"model": f"anthropic/{served}", "api_base": base.removesuffix("/v1")}
        wanted |= {} if params.get("api_key") else {"api_key": "none"}  # LiteLLM wants one for this provider
        for key, value in wanted.items():
            text = yamltext.put(text, [*place, "litellm_params", key], value)
        done = True
    return edit(here, f"{name}: ask the engine by its own /v1/messages", text) if done else None


VERBS: dict[str, Verb] = {"litellm.nest": nest, "litellm.native": native}
