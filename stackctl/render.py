"""Plan -> files: rendered in Jinja's sandbox, every value escaped, read again and checked before anything uses them."""

from __future__ import annotations

import json
import os
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from stackctl import files, paths
from stackctl.errors import ConfigError
from stackctl.rendered import RenderedFile
from stackctl.yamlfile import load_yaml

if TYPE_CHECKING:
    from stackctl.plan import Plan

CONFIG_FILE = "litellm_config.yaml"
AUTH_FILE = "stackctl_auth.py"
TEMPLATE = "litellm_config.yaml.j2"
AUTH = "stackctl_auth.user_api_key_auth"
CALLBACKS = {
    "stackctl_auth.limits": "long answers would be refused",
    "stackctl_content.content": "a picture would end a conversation with a text model",
}
_COPIED = {  # programs of the gateway's, which LiteLLM imports by these names
    AUTH_FILE: "gateway_auth.py",
    "stackctl_engines.py": "gateway_engines.py",
    "stackctl_content.py": "gateway_content.py",
    "stackctl_blocks.py": "gateway_blocks.py",
    "stackctl_requests.py": "gateway_requests.py",
    "stackctl_redact.py": "redact.py",
}


def render(plan: Plan) -> tuple[RenderedFile, ...]:
    """Make the gateway's files in memory; none for `direct`. Raises ConfigError for a template that spoils them."""
    if plan.gateway.kind == "direct":
        return ()
    template, where = _template()
    text = _fill(template, where, plan)
    _check(text, where, plan)
    package = resources.files("stackctl")
    copied = [RenderedFile(name, package.joinpath(own).read_text(encoding="utf-8")) for name, own in _COPIED.items()]
    return RenderedFile(CONFIG_FILE, text), *copied


def override() -> str | None:
    """The user's own template, which is used in place of ours; None without one."""
    own = os.path.join(paths.config_dir(), "templates", TEMPLATE)
    return own if os.path.lexists(own) else None


def _template() -> tuple[str, str]:
    """The template's text and where it came from: the user's override, else the one that ships."""
    own = override()
    if own is not None:
        try:
            return files.read_private(own).decode(), own
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read the template override {own}: {error}", remedy="correct or remove it"
            ) from error
    return shipped(TEMPLATE), TEMPLATE


def shipped(name: str) -> str:
    """The text of a template of ours: beside the package in a wheel, in `templates/` of a checkout."""
    inside = resources.files("stackctl").joinpath("templates", name)
    if inside.is_file():
        return inside.read_text(encoding="utf-8")
    checkout = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "templates", name)
    with open(checkout, encoding="utf-8") as stream:
        return stream.read()


def _scalar(value: object) -> str:
    """One YAML value on one line. JSON would do but for its surrogate pairs, which YAML does not know."""
    if isinstance(value, str):
        return yaml.safe_dump(value, default_style='"', width=float("inf")).rstrip("\n")
    return json.dumps(value)


def _fill(template: str, where: str, plan: Plan) -> str:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["yaml"] = _scalar
    context: dict[str, Any] = {"models": plan.models(), "request_timeout": plan.gateway.request_timeout, "auth": AUTH}
    try:
        return environment.from_string(template).render(context)
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        line = getattr(error, "lineno", None)
        raise ConfigError(
            f"the template {where}{f':{line}' if line else ''} cannot be rendered: {error}",
            remedy="correct or remove the override",
        ) from error


def _check(text: str, where: str, plan: Plan) -> None:
    """Read the rendered file back: what the plan promises must stand in it, whatever the template did."""
    fix = f"correct the template {where}, or remove it to use the one that ships"
    try:
        data, _ = load_yaml(f"{where} (rendered)", text.encode())
    except ConfigError as error:
        raise ConfigError(f"the template renders broken YAML: {error.message}", remedy=fix) from error
    rows = data.get("model_list")
    found = [
        (str(row.get("model_name")), row["litellm_params"])
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and isinstance(row.get("litellm_params"), dict)
    ]
    planned = {model["name"]: (model["model"], model["api_base"]) for model in plan.models()}
    for name, params in found:  # LiteLLM takes several rows of one name, and shares the requests out among them
        if name in planned and (params.get("model"), params.get("api_base")) != planned[name]:
            raise ConfigError(f"the template sends `{name}` somewhere else than planned", remedy=fix)
    for name in planned.keys() - {name for name, _ in found}:
        raise ConfigError(f"the template drops the model `{name}`", remedy=fix)
    general = data.get("general_settings")
    general = general if isinstance(general, dict) else {}
    if not str(general.get("master_key", "")).startswith("os.environ/"):
        raise ConfigError("the template has no general_settings.master_key that refers to os.environ/...", remedy=fix)
    if general.get("custom_auth") != AUTH:
        raise ConfigError(
            "the template drops general_settings.custom_auth: anybody's key would be the admin's", remedy=fix
        )
    settings = data.get("litellm_settings")
    callbacks = settings.get("callbacks") or [] if isinstance(settings, dict) else []
    for name, without in CALLBACKS.items():
        if name not in callbacks:
            raise ConfigError(f"the template drops litellm_settings.callbacks: [{name}]: {without}", remedy=fix)
    wanted = {model["name"]: (model["api_key"], model["bearer"]) for model in plan.models()}
    for name, params in found:
        headers = params.get("extra_headers")
        sent = (params.get("api_key"), headers.get("Authorization") if isinstance(headers, dict) else None)
        if any(key is not None and not str(key).startswith("os.environ/") for key in sent):
            raise ConfigError(
                f"the template writes a key into the file (model `{name}`)", remedy="refer to it as os.environ/NAME"
            )
        if name in wanted and sent != wanted[name]:
            raise ConfigError(f"the template sends `{name}` another key than planned, or none", remedy=fix)
