"""What families write is read by vLLM's own parser for them: each sample goes through the real class."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from stackctl.catalog import families, registries
from stackctl.model import ServiceKind
from stackctl.toolchain import locate

if TYPE_CHECKING:
    from stackctl.toolchain import Toolchain

pytestmark = pytest.mark.e2e

SAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tool_calls.yaml")
UNREAD = {
    "openai": "reads token ids of a vocabulary that it would download",
    "cohere_command3": "needs a package that vLLM does not bring",
    "inkling": "reads token ids",
    "hy_v4": "has no published format to write a sample from",
    "k2_horizon": "has no published format to write a sample from",
    "muse": "is in 0.33 only, and the CPU build is 0.32",
    "step5": "is in 0.33 only, and the CPU build is 0.32",
}
# Families that write as another one does: a template of theirs is read by the other's class too.
ALIKE = {
    "step3p5": "qwen3_xml",
    "mimo": "qwen3_xml",
    "granite4": "hermes",
    "ernie45": "hermes",
    "poolside_v1": "glm47",
    "ling3": "glm47",
}
FEED = """
import json, sys, traceback
from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.tool_parsers import ToolParserManager
given = json.load(sys.stdin)
request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "?"}], tools=[{"type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])
answers = {}
for name, sample in given["samples"].items():
    reader = sample.get("parser", name)
    tokenizer = AutoTokenizer.from_pretrained(given["tokenizer"])
    tokenizer.add_tokens(sample["tokens"], special_tokens=True)
    answers[name] = {}
    for kind, text in (("call", sample["text"]), ("prose", "The weather in Paris is fine.")):
        try:
            parser = ToolParserManager.get_tool_parser(reader)(tokenizer, request.tools)
            found = parser.extract_tool_calls(text, request)
            answers[name][kind] = [[call.function.name, json.loads(call.function.arguments)] for call in found.tool_calls]
        except Exception:
            answers[name][kind] = traceback.format_exc()[-500:]
print("ANSWERS" + json.dumps(answers))
"""


@pytest.fixture
def samples() -> dict[str, dict[str, object]]:
    with open(SAMPLES, encoding="utf-8") as stream:
        found: dict[str, dict[str, object]] = yaml.safe_load(stream)
    return found


@pytest.mark.timeout(900)
def test_vllms_own_classes_read_what_the_families_write(
    embedded_model: str, samples: dict[str, dict[str, object]]
) -> None:
    samples |= {f"{name} as {other}": {**samples[name], "parser": other} for name, other in ALIKE.items()}
    engine: Toolchain = locate(ServiceKind.ENGINE, configured_python=None, accelerator="cpu")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VLLM_", "PYTHON"))}
    done = subprocess.run(
        [engine.python, "-c", FEED],
        input=json.dumps({"tokenizer": embedded_model, "samples": samples}),
        capture_output=True,
        text=True,
        env=env | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.rsplit("ANSWERS", 1)[1])
    assert answers == {name: {"call": [["get_weather", {"city": "Paris"}]], "prose": []} for name in samples}


def test_every_parser_of_the_catalogue_is_fed_or_has_a_reason_not_to_be(
    samples: dict[str, dict[str, object]],
) -> None:
    named = {row.tool for row in families.catalogue().families if row.tool}
    assert named - samples.keys() == UNREAD.keys()
    newest = registries.releases()[-1].tool
    for name, sample in samples.items():
        assert name in newest
        guessed = families.from_template(f"{sample['text']} arguments")
        if guessed is not None and guessed.tool is not None:  # so that a template's text leads to the same class
            assert newest[guessed.tool] in {newest[name], newest[ALIKE.get(name, name)]}, name
