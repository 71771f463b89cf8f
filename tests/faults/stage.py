"""Healthy stacks to be broken. Those that run are started once for all faults that leave them whole.

files        a configuration and a model on disk; nothing runs
hub          the same with a model of the hub (a stand-in) in its cache, or in a directory (`given.copy`: download, git)
direct       the scripted engine as its own gateway; litellm: behind real LiteLLM; both shared
own-direct, own-litellm   the same, for one fault alone
two, hosted  two engines behind one gateway, with routes; and a provider (a stand-in) behind it as well
failed       `up` of the scripted engine, which does not come up; failed-litellm: of real LiteLLM, which does not
url          an engine that somebody else started, looked at by its address
remote       the same, as `engines.main.url` behind real LiteLLM
hand-file    a hand-written litellm_config.yaml; nothing runs
hand         the same, run by real LiteLLM in front of that engine
real         real vLLM with the embedded model behind real LiteLLM; shared
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stackctl import toolchain
from stackctl.hub import download
from stackctl.model import ServiceKind
from tests.fakes import between, hosted, stack
from tests.fakes.hub import COMMIT, Hub, Repo
from tests.fakes.ports import free_port
from tests.faults import checkpoints, given
from tests.faults.case import Case
from tests.faults.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.corpus import Fault

MASTER = "sk-hand-made-0123456789abcdef0123"
ENGINE_KEY = "sk-engine-0123456789abcdef"
PROVIDER_KEY = "sk-provider-0123456789abcdef"


class Stage:
    """What runs for the corpus, in `root`; `close` ends it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._all = contextlib.ExitStack()
        self._shared: dict[str, Any] = {}
        self._numbers = itertools.count()

    def close(self) -> None:
        """Stop everything."""
        self._all.close()

    def case(self, fault: Fault) -> Case:
        """A broken stack; `case.after` heals or removes it."""
        make: Callable[[Fault, Path], Case] = getattr(self, "_" + fault.stack.replace("-", "_"))
        return make(fault, self.root / f"{next(self._numbers)}")

    # --- nothing runs

    def _files(self, fault: Fault, root: Path) -> Case:
        case = Case(root, root / "state")
        model = checkpoints.make(root / "models" / "qwen3-tiny")
        case.words["vllm"] = toolchain.locate(ServiceKind.ENGINE, configured_python=None, accelerator="cpu").python
        case.words |= {"model": str(model), "engine_port": str(free_port()), "port": str(free_port())}
        config = {
            "engines": {"main": {"model": str(model), "port": int(case.words["engine_port"])}},
            "gateway": {"port": int(case.words["port"])},
        }
        case.config = case.project / "stack.yaml"
        given.configure(case, fault, config)
        return case

    def _hub(self, fault: Fault, root: Path) -> Case:
        """The cache is filled by the product itself, once, and copied."""
        if "hub" not in self._shared:
            files = {each.name: each.read_bytes() for each in checkpoints.make(self.root / "hub" / "files").iterdir()}
            shards = {
                each.name: each.read_bytes() for each in checkpoints.sharded(self.root / "hub" / "shards").iterdir()
            }
            self._shared["hub"] = self._all.enter_context(Hub({"acme/tiny": Repo(files), "acme/sharded": Repo(shards)}))
            self._shared["pulled"] = Case(self.root / "pulled", self.root / "pulled" / "state")
            self._shared["pulled"].env["HF_ENDPOINT"] = self._shared["hub"].url
            for name in self._shared["hub"].repos:
                done = self._shared["pulled"].run("models", "pull", name)
                assert done.returncode == 0, done.stderr
        case = self._files(fault, root)
        case.env["HF_ENDPOINT"] = self._shared["hub"].url
        shutil.copytree(self._shared["pulled"].home / ".cache", case.home / ".cache", symlinks=True)
        name = fault.given.get("name", "acme/tiny")
        repo = case.home / ".cache" / "huggingface" / "hub" / f"models--{name.replace('/', '--')}"
        case.words |= {"model": str(repo / "snapshots" / COMMIT)}
        if "copy" in fault.given:
            name = case.words["model"] = str(
                _copied(name, root / "models", self._shared["hub"].url, fault.given["copy"])
            )
        assert case.config is not None
        config = yaml.safe_load(case.config.read_text())
        config["engines"]["main"]["model"] = name
        given.configure(case, fault, config)
        return case

    def _hand_file(self, fault: Fault, root: Path) -> Case:
        case = Case(root, root / "state")
        case.words |= {"engine": f"http://127.0.0.1:{free_port()}"}
        case.env |= {"LITELLM_MASTER_KEY": MASTER}
        given.by_hand(case, fault, runs=False)
        return case

    # --- the scripted engine as a stack

    def _direct(self, fault: Fault, root: Path) -> Case:
        return self._on_shared("direct", fault, root)

    def _litellm(self, fault: Fault, root: Path) -> Case:
        return self._on_shared("litellm", fault, root)

    def _on_shared(self, kind: str, fault: Fault, root: Path) -> Case:
        shared = self._started(kind, lambda place: given.scripted(place, kind, []))
        case = Case(root, shared.home, shared.config)
        case.after.callback(self._heal, kind)
        return self._beside(shared, fault, case)

    def _started(self, kind: str, config: Callable[[Path], dict[str, Any]]) -> stack.Stack:
        """The stack that is shared as `kind`, started where it does not run yet."""
        if kind not in self._shared:
            with contextlib.ExitStack() as ends:
                place = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="s", dir=self.root)))
                ran = ends.enter_context(stack.up(place, config(place), record=place / "record.jsonl"))
                self._shared[kind] = Shared(ran, ends.pop_all())
            self._all.callback(self._shared[kind].close)
        shared: Shared = self._shared[kind]
        return shared.stack

    def _heal(self, kind: str) -> None:
        """The next fault finds a well stack: this one, else one that is started anew."""
        shared: Shared = self._shared[kind]
        with contextlib.suppress(OSError, ValueError, KeyError):
            if shared.heal():
                return
        self._shared.pop(kind).close()

    def _beside(self, shared: stack.Stack, fault: Fault, case: Case) -> Case:
        case.env |= {name: value for name, value in shared.env().items() if not name.lower().startswith("no_proxy")}
        case.words |= {"url": shared.url, "engine": shared.engine_url, "key": shared.key}
        set_faults(shared.engine_url, [*fault.start, *fault.engine])
        case.after.callback(set_faults, shared.engine_url, [])
        return case

    def _two(self, fault: Fault, root: Path) -> Case:
        return self._routed(fault, root, {})

    def _hosted(self, fault: Fault, root: Path) -> Case:
        if "provider" not in self._shared:
            self._shared["provider"] = self._all.enter_context(hosted.provider(PROVIDER_KEY))
        url = self._shared["provider"].url
        opus = {"hosted": f"anthropic/{hosted.MODEL}", "api_key": "env/PROVIDER_KEY", "api_base": url}
        return self._routed(fault, root, {"opus": opus})

    def _routed(self, fault: Fault, root: Path, more: dict[str, Any]) -> Case:
        """Two engines behind one gateway, and what else is in `more`."""
        config = given.scripted(root / "given", "litellm", fault.start)
        small = given.scripted(root / "given" / "small", "litellm", [])["engines"]["main"]
        config["engines"]["small"] = small | {"model": "Qwen/Qwen3-4B", "max_model_len": stack.WINDOW // 2}
        config["routes"] = {"default": "main", "haiku": "small", **more}
        case = Case(root, root / "given" / "state")
        case.env |= {"PROVIDER_KEY": PROVIDER_KEY}
        own = case.after.enter_context(_gone_or_down(case, root / "given", given.over(config, fault.config)))
        case.config = own.config
        return self._beside(own, fault, case)

    def _own_direct(self, fault: Fault, root: Path) -> Case:
        return self._own("direct", fault, root)

    def _own_litellm(self, fault: Fault, root: Path) -> Case:
        return self._own("litellm", fault, root)

    def _own(self, kind: str, fault: Fault, root: Path) -> Case:
        config = given.over(given.scripted(root / "given", kind, fault.start), fault.config)
        case = Case(root, root / "given" / "state")
        own = case.after.enter_context(_gone_or_down(case, root / "given", config))
        case.config = own.config
        return self._beside(own, fault, case)

    def _failed(self, fault: Fault, root: Path) -> Case:
        case = Case(root, root / "state", root / "project" / "stack.yaml")
        machine = [case.fill(each) for each in fault.start]
        return _not_up(
            case, given.over(given.scripted(root / "given", "direct", machine), given.filled(case, fault.config))
        )

    def _failed_litellm(self, fault: Fault, root: Path) -> Case:
        """Real LiteLLM does not come up; `swap` in `given` makes a template of the user's own out of the built-in one."""
        case = Case(root, root / "state", root / "project" / "stack.yaml")
        if "swap" in fault.given:
            own = case.state / "config" / "templates" / "litellm_config.yaml.j2"
            own.parent.mkdir(parents=True)
            own.write_text((stack.ROOT / "templates" / own.name).read_text().replace(*fault.given["swap"]))
        return _not_up(
            case, given.over(given.scripted(root / "given", "litellm", []), given.filled(case, fault.config))
        )

    # --- made by hand

    def _engine(self, *, keyless: bool = False) -> str:
        """The address of an engine that somebody else started; the ones behind a hand-made LiteLLM often ask no key."""
        name = "keyless" if keyless else "engine"
        if name not in self._shared:
            place = Path(self._all.enter_context(tempfile.TemporaryDirectory(prefix="e", dir=self.root)))
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            argv = [sys.executable, str(stack.ENGINE), "--port", str(port), "--model", given.MODEL, *given.FLAGS]
            argv += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--enable-prompt-tokens-details"]
            env = stack.base_env(place) | ({} if keyless else {"VLLM_API_KEY": ENGINE_KEY})
            self._all.enter_context(
                stack.running(argv, env=env, cwd=place, log=place / "log", health=f"{url}/health", deadline=60)
            )
            self._shared[name] = url
        return str(self._shared[name])

    def _url(self, fault: Fault, root: Path) -> Case:
        url = self._engine()
        case = Case(root, root / "state")
        case.words |= {"engine": url, "key": ENGINE_KEY}
        key = case.project / "key"
        key.write_text(ENGINE_KEY)
        case.args = ["--url", url, "--key-file", str(key)]
        set_faults(url, fault.engine)
        case.after.callback(set_faults, url, [])
        return case

    def _remote(self, fault: Fault, root: Path) -> Case:
        url = self._engine()
        case = Case(root, root / "given" / "state")
        case.env |= {"MY_KEY": ENGINE_KEY}
        config = {"engines": {"main": {"url": url, "api_key": "env/MY_KEY"}}, "gateway": {"port": free_port()}}
        own = case.after.enter_context(_gone_or_down(case, root / "given", given.over(config, fault.config)))
        case.config = own.config
        case = self._beside(own, fault, case)
        case.env |= {"MY_KEY": ENGINE_KEY}
        return case

    def _hand_behind(self, fault: Fault, root: Path) -> Case:
        """The same before a stack of ours: two gateways in series."""
        inner = self._started("litellm", lambda place: given.scripted(place, "litellm", []))
        return self._hand(fault, root, {"inner": inner.url, "inner_key": inner.key})

    def _hand(self, fault: Fault, root: Path, words: dict[str, str] | None = None) -> Case:
        case = Case(root, root / "state")
        case.words |= words or {}
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        case.words |= {"engine": self._engine(keyless=True), "keyed": self._engine(), "url": url}
        if "astray" in fault.given:
            case.words["astray"] = between.astray(
                case.after.enter_context(between.proxy(case.words["engine"], host=fault.given["astray"]))
            )
        case.env |= {
            "LITELLM_MASTER_KEY": MASTER,
            "ENGINE_KEY": ENGINE_KEY,
            "INNER_KEY": case.words.get("inner_key", ""),
        }
        file = given.by_hand(case, fault, runs=True)
        case.args += ["--url", url]
        python = toolchain.locate(ServiceKind.GATEWAY, configured_python=None, accelerator="cpu").python
        argv = [
            str(Path(python).with_name("litellm")),
            "--config",
            str(file),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        own = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "NO_PROXY": "*"}
        env = {**stack.base_env(root / "run"), **own, "ANTHROPIC_AUTH_TOKEN": "none", **case.env}
        runs = case.after.enter_context(contextlib.ExitStack())

        def start() -> None:
            runs.close()
            health = f"{url}/health/liveliness"
            runs.enter_context(
                stack.running(argv, env=env, cwd=root / "run", log=root / "litellm.log", health=health, deadline=150)
            )

        start()
        case.again = start
        set_faults(case.words["engine"], fault.engine)
        case.after.callback(set_faults, case.words["engine"], [])
        return case

    # --- real

    def _real(self, fault: Fault, root: Path) -> Case:
        shared = self._started("real", lambda _: stack.real_config() | {"aliases": []})
        case = Case(root, shared.home, shared.config)
        case.after.callback(self._heal, "real")
        case.env |= {name: value for name, value in shared.env().items() if not name.lower().startswith("no_proxy")}
        case.words |= {"url": shared.url, "key": shared.key, "engine": shared.engine_url}
        return case

    def _real_failed(self, fault: Fault, root: Path) -> Case:
        case = Case(root, root / "state", root / "project" / "stack.yaml")
        config = {
            "engines": {"main": {"model": "embedded", "port": free_port()}},
            "gateway": {"port": free_port()},
        }
        return _not_up(case, given.over(config, given.filled(case, fault.config)))


def _not_up(case: Case, config: dict[str, Any]) -> Case:
    """An `up` that fails; a repair of it is one when it succeeds."""
    assert case.config is not None
    up = ("up", "-d", "--yes", "-c", str(case.config))
    case.config.write_text(yaml.safe_dump(config, sort_keys=False))
    case.after.callback(case.run, "down")
    assert case.run(*up).returncode != 0, "it came up"
    case.proof = lambda: case.run(*up).returncode == 0
    return case


def _copied(name: str, root: Path, url: str, how: str) -> Path:
    """A model of the hub in a directory, as `hf download --local-dir` or `git clone` leaves it."""
    from huggingface_hub import HfApi

    download.library().disable_progress_bars()
    place = Path(
        HfApi(endpoint=url, token=False).snapshot_download(name, local_dir=root / name, cache_dir=root / "cache")
    )
    if how == "git":
        shutil.rmtree(place / ".cache")
        git = place / ".git"
        (git / "refs" / "heads").mkdir(parents=True)
        (git / "config").write_text(
            f'[remote "origin"]\n\turl = {url}/{name}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
        )
        (git / "HEAD").write_text("ref: refs/heads/main\n")
        (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    return place


@contextlib.contextmanager
def _gone_or_down(case: Case, root: Path, config: dict[str, Any]) -> Any:
    """As `stack.up`, but whatever became of the stack meanwhile is stopped without a word."""
    root.mkdir(parents=True, exist_ok=True)
    file = root / "given.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    try:
        started = case.run("up", "-d", "--yes", "-c", str(file))
        assert started.returncode == 0, started.stderr
        yield stack._running(case.state, file, started.stderr, config, root / "record.jsonl")
    finally:
        for _ in range(2):  # the second for what a state made unreadable on purpose hid from the first
            case.run("down", "--name", "default")


def set_faults(url: str, faults: list[str]) -> None:
    """Make the scripted engine at `url` ill, or well again; one that is gone is neither."""
    with contextlib.suppress(OSError):
        stack.ask(f"{url}/fake/faults", {"faults": faults}, timeout=10)
