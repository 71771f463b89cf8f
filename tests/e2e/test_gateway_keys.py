"""Who may ask what: the client key is good for chat and for nothing else, and a wrong one is told so at once."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackctl.gateway_env import gateway_env
from tests.fakes import claude, stack
from tests.fakes.ports import free_port
from tests.fakes.stack import Stack

pytestmark = pytest.mark.e2e

# Every route that the installed LiteLLM has, also those that it loads late and those that no schema lists.
LIST_ROUTES = """
import json
from litellm.proxy.proxy_server import app

def walk(routes, prefix):
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        here = prefix + (getattr(route, "path", None) or "")
        if getattr(inner, "routes", None):
            yield from walk(inner.routes, here)
        if getattr(route, "path", None):
            yield here, sorted(getattr(route, "methods", None) or ["GET"])

print("ROUTES" + json.dumps(sorted(walk(app.routes, ""))))
"""

OFFERED = re.compile(
    r"POST (/v1)?/(messages|messages/count_tokens|chat/completions|completions|responses|embeddings)"
    r"|GET (/v1)?/models(/.*)?|(GET|HEAD) /(health/(liveliness|liveness|readiness))?"
)

ADMIN = [
    ("POST", "/key/generate"), ("POST", "/key/delete"), ("GET", "/key/info"), ("GET", "/key/list"),
    ("POST", "/key/update"), ("POST", "/user/new"), ("POST", "/team/new"),
    ("POST", "/model/new"), ("POST", "/model/delete"), ("POST", "/model/update"), ("GET", "/model/info"),
    ("GET", "/v1/model/info"), ("GET", "/v2/model/info"), ("GET", "/model_group/info"),
    ("POST", "/config/update"), ("GET", "/get/config/callbacks"), ("GET", "/config/yaml"), ("GET", "/settings"),
    ("GET", "/global/spend"), ("GET", "/spend/logs"), ("GET", "/health"), ("GET", "/health/services"),
    ("POST", "/cache/flushall"), ("GET", "/routes"), ("GET", "/metrics"), ("POST", "/utils/transform_request"),
    ("GET", "/ui"), ("GET", "/ui/"), ("GET", "/fallback/login"), ("GET", "/sso/key/generate"), ("POST", "/v2/login"),
    ("GET", "/docs"), ("GET", "/redoc"), ("GET", "/openapi.json"), ("POST", "/mcp"), ("GET", "/public/model_hub"),
    ("POST", "/anthropic/v1/messages"), ("POST", "/openai/v1/chat/completions"), ("POST", "/vllm/v1/completions"),
    ("GET", "//v1/models"), ("GET", "/v1/models/../../key/info"), ("GET", "/v1/models/.."), ("POST", "/v1/messages/"), ("PUT", "/v1/messages"),
]  # fmt: skip


def question(**more: Any) -> dict[str, Any]:
    return {"model": stack.ALIAS, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **more}


def filled(chain: Stack, headers: dict[str, str]) -> dict[str, str]:
    """Headers with this stack's own keys in the places that are named for them."""
    keys = {"master": chain.master_key, "engine": chain.engine_key, "client": chain.key, "shorter": chain.key[:-1]}
    assert len(set(keys.values())) == 4
    return {name: value.format_map(keys) for name, value in headers.items()}


def test_a_wrong_key_is_refused_at_once_in_words(scripted: Stack) -> None:
    before = len(scripted.requests())
    for headers in ({"authorization": "Bearer sk-old"}, {"x-api-key": "sk-old"}):
        answer = scripted.ask("/v1/messages", question(), key=None, headers=headers)
        assert answer.status == 403
        assert answer.seconds < 3
        error = answer.json["error"]
        assert "is not this stack's client key" in error["message"]
        assert 'eval "$(stackctl env)"' in error["message"]
        assert b"sk-old" not in answer.raw
    assert len(scripted.requests()) == before


def test_the_header_that_held_the_wrong_key_is_named(scripted: Stack) -> None:
    bearer = scripted.ask("/v1/messages", question(), key="sk-old").json["error"]["message"]
    other = scripted.ask("/v1/messages", question(), key=None, headers={"x-api-key": "sk-old"}).json["error"]["message"]
    assert "ANTHROPIC_AUTH_TOKEN" in bearer
    assert "ANTHROPIC_API_KEY" in other


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": "Basic c2s6eA=="},
        {"x-api-key": ""},
        {"x-litellm-api-key": "{master}"},
        {"api-key": "{master}"},
        {"x-goog-api-key": "{master}"},
    ],
)
def test_without_a_key_it_is_a_401_in_words(scripted: Stack, headers: dict[str, str]) -> None:
    for path in ("/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/messages/count_tokens"):
        answer = scripted.ask(path, question(), key=None, headers=filled(scripted, headers))
        assert answer.status == 401
        assert "needs this stack's client key" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "key",
    ["{master}", "{engine}", "{shorter}", "{client}x", "\xff\xfe", "x" * 20_000],
    ids=["the master's", "the engine's", "a shorter one", "a longer one", "not text", "a long one"],
)
def test_no_other_key_opens_the_gateway(scripted: Stack, key: str) -> None:
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        answer = scripted.ask("/v1/models", key=None, headers=filled(scripted, headers))
        assert answer.status == 403
        assert answer.raw.isascii()
        assert scripted.key.encode() not in answer.raw


@pytest.mark.parametrize("headers", [{"x-api-key": "{client}"}, {"authorization": "bearer {client}"}])
def test_both_ways_to_send_the_key_are_understood(scripted: Stack, headers: dict[str, str]) -> None:
    assert scripted.ask("/v1/messages", question(), key=None, headers=filled(scripted, headers)).status == 200


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_the_client_key_has_no_admin_rights(scripted: Stack, method: str, path: str) -> None:
    answer = scripted.ask(path, {} if method in {"POST", "PUT"} else None, method=method)
    assert answer.status == 403
    assert "is not offered by stackctl's gateway" in answer.json["error"]["message"]


def test_every_route_of_the_installed_litellm_is_refused_but_the_offered(
    scripted: Stack, gateway_python: str, tmp_path: Path
) -> None:
    env = stack.base_env(tmp_path) | gateway_env(
        master_key="m", client_key="c", host_url="http://x", keys={"STACKCTL_ENGINE_KEY": "none"}, alone=True
    )
    done = subprocess.run(
        [gateway_python, "-c", LIST_ROUTES], env={**env, "LITELLM_DISABLE_LAZY_ROUTES": "true"}, cwd=tmp_path,
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    routes = json.loads(done.stdout.rpartition("ROUTES")[2])
    found = {(method, re.sub(r"\{[^}]*\}", "x", path)) for path, methods in routes for method in methods}
    hidden = sorted((method, path) for method, path in found if not OFFERED.fullmatch(f"{method} {path}"))
    assert len(hidden) > 500  # the walk reached the routers
    assert ("POST", "/key/generate") in hidden
    for method, path in hidden:
        answer = scripted.ask(path, {} if method in {"POST", "PUT", "PATCH"} else None, method=method)
        assert answer.status == 403, f"{method} {path}: {answer.status} {answer.raw[:200]!r}"


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port that notes who connects."""
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, peer = server.accept()
                    seen.append(str(peer))
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1]), seen
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


REDIRECTS = [
    {"api_base": "{url}"},
    {"base_url": "{url}"},
    {"api_base": "{url}", "api_key": "sk-mine"},
    {
        "user_config": {
            "model_list": [{"model_name": "x", "litellm_params": {"model": "openai/x", "api_base": "{url}"}}]
        }
    },
    {"model_list": [{"model_name": "x", "litellm_params": {"model": "openai/x", "api_base": "{url}"}}]},
    {"litellm_params": {"api_base": "{url}"}},
    {"extra_body": {"api_base": "{url}"}},
    {"metadata": {"api_base": "{url}"}},
    {"litellm_metadata": {"api_base": "{url}"}},
    {"fallbacks": [{"model": "openai/x", "api_base": "{url}"}]},
    {"fallbacks": ["openai/{url}"]},
    {"model": "openai/x", "api_base": "{url}"},
    {"langfuse_host": "{url}", "success_callback": ["langfuse"]},
    {"tools": [{"type": "mcp", "server_label": "x", "server_url": "{url}", "require_approval": "never"}]},
]


@pytest.mark.parametrize("more", REDIRECTS, ids="+".join)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/messages/count_tokens"])
def test_an_address_in_the_request_is_never_connected_to(scripted: Stack, path: str, more: dict[str, Any]) -> None:
    with listener() as (port, seen):
        address = f"http://127.0.0.1:{port}"
        filled = json.loads(json.dumps(more).replace("{url}", address))
        body = question(model=stack.ALIAS if "messages" in path else stack.SERVED, input="hi") | filled
        answer = scripted.ask(path, body, headers={"x-litellm-api-base": address})
        assert answer.status == 200 or 400 <= answer.status < 500, answer.raw
        with socket.create_connection(("127.0.0.1", port)) as probe:  # the listener does listen
            probe.recv(1)
        assert len(seen) == 1, f"{answer.status}: {seen}"


@pytest.mark.drill
def test_a_web_page_gets_no_grant(scripted: Stack) -> None:
    evil = {"origin": "https://evil.example"}
    asked = {**evil, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = scripted.ask("/v1/messages", key=None, method="OPTIONS", headers=asked)
    assert preflight.status in {401, 403}
    answers = [preflight, scripted.ask("/v1/models", headers=evil), scripted.ask("/v1/models", key=None, headers=evil)]
    for answer in answers:
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers.get("access-control-allow-credentials") != "true"
    print("drill S7: Origin https://evil.example: refused without the key, no CORS grant with it")


@pytest.mark.drill
def test_a_foreign_host_name_opens_nothing_without_the_key(scripted: Stack) -> None:
    for path in ("/v1/models", "/key/info", "/ui"):
        assert scripted.ask(path, key=None, headers={"host": "evil.example"}).status == 401
    print("drill S7: Host evil.example: 401 on 3 of 3 paths")


def test_websockets_are_refused(scripted: Stack) -> None:
    upgrade = {
        "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    for path in ("/v1/realtime", "/v1/responses"):
        assert scripted.ask(path, method="GET", headers=upgrade).status == 403


def test_health_and_a_clients_first_look_need_no_key(scripted: Stack) -> None:
    assert scripted.ask("/health/liveliness", key=None).status == 200
    assert scripted.ask("/health/readiness", key=None).status == 200
    look = scripted.ask("/", key=None, method="HEAD")
    assert (look.status, look.raw) == (200, b"")
    assert b"html" not in scripted.ask("/", key=None).raw.lower()


def test_a_request_without_its_parts_is_a_400(scripted: Stack) -> None:
    broken: list[dict[str, Any]] = [{}, {"model": stack.ALIAS}, {"model": 7, "messages": []}, question(metadata="x")]
    for body in broken:
        answer = scripted.ask("/v1/messages", body)
        assert answer.status == 400, answer.raw
        assert answer.json["error"]["message"]


def test_litellm_does_not_start_without_a_client_key(scripted: Stack, gateway_python: str, tmp_path: Path) -> None:
    config = Path(shutil.copytree(scripted.root / "gateway", tmp_path / "gateway")) / "litellm_config.yaml"
    env = stack.base_env(tmp_path) | gateway_env(
        master_key="sk-m", client_key="", host_url="http://x", keys={"STACKCTL_ENGINE_KEY": "none"}, alone=True
    )
    argv = [str(Path(gateway_python).parent / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    done = subprocess.run(
        [*argv, "--port", str(free_port())], env=env, cwd=config.parent, capture_output=True, text=True,
        timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "STACKCTL_CLIENT_KEY is not set" in done.stdout + done.stderr


def test_claude_code_with_a_wrong_key_ends_within_seconds(scripted: Stack, claude_code: Path, tmp_path: Path) -> None:
    env = scripted.env() | {"ANTHROPIC_AUTH_TOKEN": "sk-of-another-stack"}
    ended = claude.run(claude_code, "say hi", home=tmp_path / "home", cwd=tmp_path / "work", env=env)
    assert ended.code != 0
    assert "is not this stack's client key" in ended.out
    assert ended.seconds < 30  # its retries would go on for minutes
    print(f"wrong key: claude ended after {ended.seconds:.2f} s: {ended.result['result']}")
