"""A model from the hub: looked up, checked before a byte of weights is taken, fetched, found again without network."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl.errors import PreflightError
from stackctl.hub import failures, fetched
from stackctl.hub.cache import OTHER_WEIGHTS, cache_dir, cached, repo_dir, wanted
from stackctl.hub.transfer import Meter, Progress, download, run
from stackctl.toolchain.atomic import locked

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE = 16 * 1024 * 1024  # bytes; smaller files are left to the hub's library
_AT_ONCE = 4
LOOKUP = 20.0  # seconds
_SPARE = 512 * 1024 * 1024  # bytes to leave free on the disk
_HEAD = ("config.json", "params.json", "tokenizer_config.json", "chat_template.*", "*.py")
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def endpoint() -> str:
    """The hub, or the mirror that HF_ENDPOINT names."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Whether the user forbids to ask the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def model(model_id: str, *, revision: str | None, on_progress: Callable[[Progress], None]) -> str:
    """Have a model in the hub's cache and return its directory; without network when it is wholly there.

    `on_progress` is called about twice a second in this thread. The token (HF_TOKEN or the hub's token file) goes to
    the hub only. Raises PreflightError when there is no such model, it is gated, has no safetensors or there is no
    room for it, and StackError when the network or the hub fails.
    """
    found = cached(model_id, revision)
    if found:
        return found
    if is_offline():
        raise PreflightError(
            f"HF_HUB_OFFLINE is set, and {model_id} is not (wholly) on this machine", remedy="unset HF_HUB_OFFLINE"
        )
    try:
        return _fetch(model_id, revision, on_progress)
    except Exception as error:
        raise failures.explain(error, model_id, revision, endpoint()) from error


@dataclass(frozen=True, slots=True)
class Head:
    """What a model says of itself: the directory of its small files, and the bytes of its weights."""

    directory: str
    weights: int


def head(model_id: str, *, revision: str | None) -> Head:
    """Have the small files of a model that say what it is, how it is talked to and what it would run.

    Raises as `model` does.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi(endpoint=endpoint())
        info = api.model_info(model_id, revision=revision, files_metadata=True, timeout=LOOKUP)
        sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
        _check_files(model_id, wanted(list(sizes)))
        fetched.note(model_id)
        directory = str(
            api.snapshot_download(
                model_id,
                revision=str(info.sha),  # by its commit: no branch is named, so it does not count as downloaded
                cache_dir=cache_dir(),
                allow_patterns=list(_HEAD),
                tqdm_class=_bar(Meter(0)),
                etag_timeout=LOOKUP,
            )
        )
    except Exception as error:
        raise failures.explain(error, model_id, revision, endpoint()) from error
    return Head(directory, sum(size for name, size in sizes.items() if name.endswith(".safetensors")))


def _fetch(model_id: str, revision: str | None, on_progress: Callable[[Progress], None]) -> str:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    info = api.model_info(model_id, revision=revision, files_metadata=True, timeout=LOOKUP)
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
    names = wanted(list(sizes))
    _check_files(model_id, names)
    large = {
        each.lfs.sha256: each
        for each in info.siblings or []
        if each.rfilename in names and each.lfs is not None and (each.size or 0) >= _LARGE
    }
    total = sum(sizes[name] for name in names)
    blobs = os.path.join(repo_dir(model_id), "blobs")
    fetched.note(model_id)  # first, so that a download that is cut off can be removed too
    os.makedirs(blobs, exist_ok=True)  # only now: a misspelt name leaves nothing
    check_room(model_id, total - _present(blobs))
    meter = Meter(total)

    def work() -> str:
        _large_files(api, model_id, str(info.sha), blobs, large, meter)
        return str(
            api.snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir(),
                ignore_patterns=list(OTHER_WEIGHTS) if len(names) < len(sizes) else None,
                tqdm_class=_bar(meter),
                etag_timeout=LOOKUP,
            )
        )

    with locked(f"{blobs}.stackctl.lock", lambda text: on_progress(Progress(0, total, 0, text))):
        return cached(model_id, revision) or run(work, meter, on_progress)


def _large_files(api: Any, model_id: str, commit: str, blobs: str, large: dict[str, Any], meter: Meter) -> None:
    from huggingface_hub import hf_hub_url

    client = library()
    headers = client.build_hf_headers()

    def one(sha256: str) -> None:
        each = large[sha256]
        target = os.path.join(blobs, sha256)
        if os.path.exists(target):
            meter.had(each.size)
            return
        url = hf_hub_url(model_id, each.rfilename, revision=commit, endpoint=api.endpoint)
        download(client, url, headers, target, size=each.size, digest=sha256, meter=meter)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="download") as pool:
        futures = [pool.submit(one, sha256) for sha256 in large]
        try:
            for future in futures:
                future.result()
        except BaseException:
            meter.cancelled = True  # the others need not finish gigabytes first
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_files(model_id: str, names: list[str]) -> None:
    """Refuse what vLLM cannot or must not load, before it is downloaded."""
    if "config.json" not in names and "params.json" not in names:
        raise PreflightError(
            f"{model_id} is not a language model that vLLM loads: it has no config.json",
            remedy="name a model with safetensors weights (a LoRA adapter or a dataset is not one)",
        )
    if any(name.endswith(".safetensors") for name in names):
        return
    if any(name.endswith(".gguf") for name in names):
        raise PreflightError(
            f"{model_id} has only GGUF weights, which vLLM does not read", remedy="name the safetensors original"
        )
    raise PreflightError(
        f"{model_id} has no safetensors weights; pickled ones can run code and are not loaded",
        remedy="name a model, or a revision, with safetensors weights",
    )


def check_room(model_id: str, need: int, place: str = "") -> None:
    """Raise PreflightError where `need` more bytes do not fit on the disk of `place` (the hub's cache by default)."""
    place = place or cache_dir()
    free = shutil.disk_usage(place).free
    if need > 0 and need + _SPARE > free:
        raise PreflightError(
            f"{model_id} needs {need / 1e9:.1f} GB more and {free / 1e9:.1f} GB are free on the disk of {place}",
            remedy="free some space, or set HF_HOME to a directory on another disk",
        )


def _present(blobs: str) -> int:
    with os.scandir(blobs) as entries:
        return sum(
            entry.stat().st_size for entry in entries if entry.is_file() and not entry.name.endswith("incomplete")
        )


def _bar(meter: Meter) -> type[Any]:
    """A progress bar for the hub's library that draws nothing and counts the bytes of small files."""
    base: type[Any] = library().tqdm

    class Bar(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Of its bars for a snapshot one counts bytes written, one (transfer) the same as they come.
            self._counts = kwargs.get("unit") == "B" and "transfer" not in str(kwargs.get("name"))
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts and n:
                meter.got(int(n))
            return None

    return Bar


def library() -> Any:
    """The hub library's documented helpers, which its stubs do not export."""
    import importlib

    return importlib.import_module("huggingface_hub.utils")
