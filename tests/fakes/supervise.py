"""Run a real Supervisor over stand-ins: `python supervise.py NAME '[{"name": ..., "port": ..., "flags": [...]}]' POLICY`.

Each event is a JSON line on stdout; the last is `{"event": "ended", ...}`. `verify` asks every engine for a token.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))

from stackctl import driver, files, logfile, probe, supervisor  # noqa: E402
from stackctl.errors import StackError  # noqa: E402
from stackctl.model import ClientFacts, Probe, ProcessSpec, ServiceKind, Work  # noqa: E402
from stackctl.paths import StackPaths  # noqa: E402

if TYPE_CHECKING:
    from typing import Any


def spec(paths: StackPaths, each: dict[str, Any]) -> ProcessSpec:
    port = each["port"]
    default = [
        sys.executable,
        "-I",
        "-S",
        os.path.join(HERE, "service.py"),
        "--port",
        str(port),
        *each.get("flags", []),
    ]
    work = files.private_dir(os.path.join(paths.root, "work"))
    return ProcessSpec(
        each["name"],
        ServiceKind(each.get("kind", "engine")),
        tuple(each.get("argv", default)),
        {"PATH": os.environ["PATH"]},
        work,
        paths.log(each["name"]),
        "127.0.0.1",
        port,
        Probe(f"http://127.0.0.1:{port}/health", timeout=5.0),
        model="stand-in",
        window=4096,
        grace=each.get("grace", 3.0),
        start_timeout=each.get("start_timeout", 30.0),
        start_cap=each.get("start_cap", 7200.0),
        work=work_of(port) if each.get("deep") else None,
        after=tuple(each.get("after", ())),
    )


def work_of(port: int) -> Work:
    """Of the scripted engine, as services.py has it for vLLM."""
    url, ours = f"http://127.0.0.1:{port}", {"User-Agent": "stackctl"}
    body = {"model": "scripted", "prompt": "a", "max_tokens": 1}
    names = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total", "vllm:kv_cache_usage_perc")
    return Work(Probe(f"{url}/metrics", headers=ours), names, Probe(f"{url}/v1/completions", "POST", ours, body))


def main() -> int:
    paths = StackPaths(sys.argv[1])
    services = json.loads(sys.argv[2])
    policy = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    log_cap = policy.pop("log_cap", logfile.MOST)
    watch = driver.Watch(policy.pop("root", "/"))

    def say(kind: str, **facts: object) -> None:
        os.write(1, (json.dumps({"event": kind, **facts}) + "\n").encode())

    def on_event(event: supervisor.Event) -> None:
        if not isinstance(event, supervisor.Tick):
            say(type(event).__name__, **asdict(event))

    def verify() -> ClientFacts:
        for each in [one for one in services if not one.get("deep")]:
            answer = probe.request(Probe(f"http://127.0.0.1:{each['port']}/work", method="POST", timeout=20.0))
            if not answer.ok:
                raise StackError(f"no token from {each['name']}: {answer.error}")
        return ClientFacts(f"http://127.0.0.1:{services[-1]['port']}", "m", "m", 4096, 1024)

    files.private_dir(paths.root)
    try:
        ended = supervisor.Supervisor(
            paths,
            "digest",
            [spec(paths, each) for each in services],
            gateway_url=f"http://127.0.0.1:{services[-1]['port']}",
            on_event=on_event,
            verify=verify,
            notice=watch.notice,
            restart=supervisor.RestartPolicy(**policy),
            log_cap=log_cap,
        ).run()
    except StackError as error:
        say("error", type=type(error).__name__, message=error.message)
        return error.exit_code
    facts = asdict(ended)
    facts["error"] = str(ended.error) if ended.error else None
    say("ended", **facts)
    return 1 if ended.state == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
