"""A value set in somebody's YAML leaves the rest as it was written."""

import pytest
import yaml

from stackctl import yamltext

TEXT = """\
# my stack
engines:
  coder:            # the one that codes
    model: some/model   # from the hub
    args: {gpu-memory-utilization: 0.9, tool-call-parser: 'hermes'}

gateway:
  port: 4000
# the end
"""


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("gateway.port", 4001, "  port: 4001"),
        ("gateway.kind", "direct", "  kind: direct"),
        ("engines.coder.model", "other", "    model: other   # from the hub"),
        ("engines.coder.max_model_len", 8192, "    max_model_len: 8192"),
        ("engines.coder.args.tool-call-parser", "qwen3_xml",
         "    args: {gpu-memory-utilization: 0.9, tool-call-parser: qwen3_xml}"),
        ("engines.coder.args.enforce-eager", True,
         "    args: {gpu-memory-utilization: 0.9, tool-call-parser: 'hermes', enforce-eager: true}"),
        ("aliases", ["a", "b"], "aliases: [a, b]"),
        ("routes.default", "coder", "  default: coder"),
    ],
)  # fmt: skip
def test_a_value_is_set_on_its_line(path: str, value: object, line: str) -> None:
    made = yamltext.put(TEXT, path.split("."), value)
    assert line in made.splitlines()
    kept = [each for each in TEXT.splitlines() if each not in made.splitlines()]
    assert len(kept) <= 1  # the line that was changed
    assert "# the end" in made


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "gateway:\n", "gateway: {}\n", "gateway:\n  # a comment\n"])
def test_a_value_is_set_where_there_was_none(text: str) -> None:
    made = yamltext.put(text, ["gateway", "port"], 4001)
    assert yaml.safe_load(made) == {"gateway": {"port": 4001}}
    assert [each for each in text.splitlines() if each.startswith("#")] == [
        each for each in made.splitlines() if each.startswith("#")
    ]


def test_a_value_is_set_in_a_list() -> None:
    text = "model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/x\n  - model_name: b\n"
    made = yamltext.put(text, ["model_list", "0", "litellm_params", "model"], "hosted_vllm/x")
    assert made == text.replace("openai/x", "hosted_vllm/x")
    assert yamltext.put(text, ["model_list", "1", "mode"], "chat") == text + "    mode: chat\n"


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("engines.coder.args.tool-call-parser", ", tool-call-parser: 'hermes'"),
        ("engines.coder.model", "model: some/model   # from the hub\n    "),
    ],
)
def test_a_key_is_taken_out(path: str, gone: str) -> None:
    assert yamltext.take(TEXT, path.split(".")) == TEXT.replace(gone, "")


def test_the_only_key_leaves_an_empty_mapping() -> None:
    assert yaml.safe_load(yamltext.take(TEXT, ["gateway", "port"]))["gateway"] == {}


def test_a_key_is_renamed() -> None:
    assert yamltext.rename(TEXT, ["gateway", "port"], "kind") == TEXT.replace("port:", "kind:")


@pytest.mark.parametrize("path", ["nothing", "gateway.nothing", "gateway.port.deeper"])
def test_what_is_not_there_cannot_be_taken_out(path: str) -> None:
    with pytest.raises(ValueError, match="no"):
        yamltext.take(TEXT, path.split("."))
