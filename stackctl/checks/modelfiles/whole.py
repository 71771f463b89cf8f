"""Whether the files of a checkpoint are whole, by what they say of their own length; no tensor is read."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from typing import TYPE_CHECKING, Any

from stackctl import checkpoint
from stackctl.checks import answers
from stackctl.hub import again, origin
from stackctl.hub.download import endpoint
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.model import Finding

_HEADER = 256 * 1024 * 1024  # bytes; safetensors allows 100 MB
_LARGEST = 64 * 1024 * 1024  # bytes of a tokenizer.json; real ones have 2 to 35 MB
_TAIL = 4096  # bytes
_JSON = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
_WORDS = frozenset({"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"})
_WORD_FILES = (".model", ".tiktoken")
_SHOWN = 5


def of(directory: str) -> Iterator[Finding]:
    """What is not whole in a directory."""
    bad = weights(directory) or texts(directory)
    if bad:
        yield damaged(directory, bad)


def damaged(directory: str, bad: list[str]) -> Finding:
    """The finding for files that are not whole: each of `bad` begins with the name of one."""
    return answers.finding("model.damaged", Status.FAIL, bad[:_SHOWN], files=len(bad), directory=directory)


def weights(directory: str) -> list[str]:
    """The weight files that the index names and that are not there, or not as long as their own headers say."""
    tensors = [name for name in sorted(os.listdir(directory)) if name.endswith(".safetensors")]
    cut = [f"{name}: {why}" for name in tensors if (why := _cut(os.path.join(directory, name)))]
    return [*_unlisted(directory), *cut]


def texts(directory: str) -> list[str]:
    """The files of the tokenizer, and what goes with it, that are no JSON or shorter than they were."""
    bad = [f"{name}: {why}" for name in _JSON if (why := _spoilt(os.path.join(directory, name)))]
    return bad or list(_short(directory))


def _unlisted(directory: str) -> Iterator[str]:
    """Files that the index of the weights names and that are not there."""
    try:
        with open(os.path.join(directory, "model.safetensors.index.json"), "rb") as stream:
            named = json.loads(stream.read(checkpoint.LARGEST_CONFIG))["weight_map"]
        files = sorted(set(named.values()))
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield "model.safetensors.index.json: not readable"
        return
    missing = [name for name in files if not os.path.isfile(os.path.join(directory, str(name)))]
    if len(missing) == len(files) and any(name.startswith("consolidated") for name in os.listdir(directory)):
        return  # Mistral's weights for its own programs, which vLLM loads as well
    for name in missing:
        yield f"{name}: missing"


def tensors(directory: str) -> dict[str, Any]:
    """What the headers say of each tensor, by its name. Of files that are not whole, nothing."""
    found: dict[str, Any] = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors"):
            with (
                contextlib.suppress(OSError, ValueError, struct.error),
                open(os.path.join(directory, name), "rb") as stream,
            ):
                found |= json.loads(stream.read(min(struct.unpack("<Q", stream.read(8))[0], _HEADER)))
    return {name: each for name, each in found.items() if isinstance(each, dict)}


def _cut(path: str) -> str:
    """Why a safetensors file is not whole; empty when it is (eight bytes of length, a JSON header, the tensors)."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            raw = stream.read(8)
            if len(raw) < 8:
                return f"{size} bytes long"
            length = struct.unpack("<Q", raw)[0]
            if length > min(_HEADER, size):
                return "no safetensors header"
            header = json.loads(stream.read(length))
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
    except OSError as error:
        return error.strerror or "not readable"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "no safetensors header"
    whole = 8 + length + max(ends, default=0)
    return "" if size == whole else f"{size:,} of {whole:,} bytes"


def pooling(directory: str) -> str:
    """The step by which sentence-transformers makes one vector of a text, where the model is for that; vLLM then serves it
    as an embedding model, whatever its architecture.
    """
    try:
        with open(os.path.join(directory, "modules.json"), "rb") as stream:
            steps = [str(each["type"]) for each in json.loads(stream.read(checkpoint.LARGEST_CONFIG))]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return next((each for each in steps if each.endswith(".Pooling")), "")


def _short(directory: str) -> Iterator[str]:
    """Files of the tokenizer that are shorter than the hub's listing says, where one was kept: no syntax shows it."""
    place = origin.of(directory, endpoint())
    for each in (again.kept_listing(place) or ()) if place is not None else ():
        if each.name in _WORDS or each.name.endswith(_WORD_FILES):
            try:
                size = os.stat(os.path.join(directory, each.name)).st_size
            except OSError:
                continue
            if size < each.size:
                yield f"{each.name}: {size:,} of {each.size:,} bytes"


def _spoilt(path: str) -> str:
    """Why a JSON file is not one; empty when it is, or is not there. Of large ones only the end is read."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > 1 << 20:
                stream.seek(-_TAIL, os.SEEK_END)
                return "" if stream.read().rstrip().endswith(b"}") else "it ends in the middle"
            json.loads(stream.read(_LARGEST))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or "not readable"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return ""
