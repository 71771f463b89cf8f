"""What stackctl made on this machine, with sizes: for `gc` and `uninstall`.

Only what is known to be stackctl's is listed: environments by the marker in them, a stack's files by their names,
hub models by the record of what was fetched. No symlink is followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stackctl import chat_templates, files, names, paths, runstate, units
from stackctl.embedded import embedded_dir
from stackctl.errors import ConfigError
from stackctl.hub import fetched
from stackctl.paths import StackPaths
from stackctl.toolchain import builds, chosen, marker

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86400.0  # seconds
OLD = 30 * DAY  # for logs and corrupt state files of stacks that do not run
STALE = 90 * DAY  # for compilation caches: one is made again in minutes, but also missed for minutes
_HALF = 1 * DAY  # for files that were being written when their process died
PARTIAL = ".partial"  # how the name of what is being made, or removed, ends
PREVIOUS = "environment before upgrade"
TRIAL = "upgrade-trial"  # the name of the stack that proves new environments
# Names that toolchain/locate.py, chat_templates.py and embedded.py give: only their locks are ours.
_MADE = re.compile(
    r"(?:(?:engine|gateway)-.+-[0-9a-f]{12}-py\d+\.\d+|(?:chat-templates-vllm-[\d.]+|SmolLM2-135M-Instruct)-[0-9a-f]{12})"
)


@dataclass(frozen=True, slots=True)
class Belonging:
    """One thing that can be removed by itself. `size` is in bytes; `lock` names what must not be held meanwhile."""

    what: str
    path: str
    size: int
    lock: str = ""
    stack: str = ""


def of(what: str, path: str, *, lock: str = "", stack: str = "") -> Belonging:
    """A belonging with its size measured."""
    return Belonging(what, path, size(path), lock, stack)


def size(path: str) -> int:
    """The bytes of a file, or of all files below a directory; a file with several names counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for each in _files(path):
        with contextlib.suppress(OSError):
            facts = os.lstat(each)
            if (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                total += facts.st_size
    return total


def occupied(path: str) -> int:
    """The bytes that a disk gets back when a file, or all below a directory, goes: what has a name elsewhere stays."""
    links: Counter[tuple[int, int, int, int]] = Counter()
    for each in _files(path):
        with contextlib.suppress(OSError):
            facts = os.lstat(each)
            links[facts.st_dev, facts.st_ino, facts.st_nlink, facts.st_blocks] += 1
    return sum(blocks * 512 for (_, _, names_, blocks), found in links.items() if found >= names_)


def _files(path: str) -> Iterator[str]:
    if not is_dir(path):
        yield path
        return
    for top, _, inside in os.walk(path, followlinks=False):
        for name in inside:
            yield os.path.join(top, name)


def is_dir(path: str) -> bool:
    """Whether this is a directory itself, and not a link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def _listed(directory: str) -> list[str]:
    """The entries of a real directory of ours, sorted; none for anything else."""
    try:
        facts = os.lstat(directory)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            return []
        return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
    except OSError:
        return []


# --- environments and made models -----------------------------------------------------------------------------------


def environments() -> list[Belonging]:
    """The managed environments, vLLM's chat templates and the embedded models: directories with our marker."""
    found = []
    for directory in (paths.envs_dir(), paths.models_dir()):
        what = "environment" if directory == paths.envs_dir() else "embedded model"
        found += [
            of("chat templates" if _is_templates(each) else what, each, lock=f"{each}.lock")
            for each in _listed(directory)
            if _lock_of(each)
        ]
    return found


def _is_templates(path: str) -> bool:
    return os.path.basename(path).startswith(f"{chat_templates.PREFIX}-")


def _lock_of(root: str) -> str:
    """The digest in the marker of an environment; empty when it has none, and so is not ours."""
    if not is_dir(root):
        return ""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(files.read_private(os.path.join(root, marker.NAME)))["lock"]
        return found if isinstance(found, str) else ""
    return ""


def outdated() -> list[Belonging]:
    """The environments and models that are not in use and that this version of stackctl would not use either.

    What `upgrade --back` would return to is among them, under a name of its own.
    """
    wanted = {builds.lock_digest(each) for each in builds.BUILDS}
    now, before = chosen.in_use()
    current = os.path.basename(embedded_dir())
    return [
        replace(each, what=PREVIOUS) if each.path in before else each
        for each in environments()
        if (each.what == "environment" and _lock_of(each.path) not in wanted and each.path not in now)
        or (each.what == "embedded model" and os.path.basename(each.path) != current)
        or (each.what == "chat templates" and _lock_of(each.path) != chat_templates.digest())
    ]


def halves() -> list[Belonging]:
    """What installs that were killed left half-made."""
    found = []
    for directory in (paths.envs_dir(), paths.models_dir()):
        for each in _listed(directory):
            name = os.path.basename(each)
            made = _MADE.match(name[1:]) if name.startswith(".") and name.endswith(PARTIAL) else None
            if made and is_dir(each):
                found.append(of("half-made", each, lock=os.path.join(directory, f"{made[0]}.lock")))
    return found


def locks() -> list[Belonging]:
    """The lock files of environments."""
    return [
        of("lock", each, lock=each)
        for directory in (paths.envs_dir(), paths.models_dir())
        for each in _listed(directory)
        if each.endswith(".lock") and _MADE.fullmatch(os.path.basename(each)[: -len(".lock")])
    ]


def users(path: str) -> list[int]:
    """The processes that run from a directory, also those that rewrote their argv: by what they have mapped.

    Another state directory may share the environments, so its stacks are not known by name. Linux only: elsewhere
    none is found.
    """
    found = []
    inside = os.path.realpath(path) + os.sep
    for pid in (int(each) for each in _pids()):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                run = inside.encode() in stream.read() and pid != os.getpid()
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as lines:
                if run or any(inside in line for line in lines):
                    found.append(pid)
    return found


def _pids() -> list[str]:
    return [each for each in os.listdir("/proc") if each.isdigit()] if os.path.isdir("/proc/self") else []


# --- stacks ---------------------------------------------------------------------------------------------------------


def stacks() -> list[StackPaths]:
    """Every stack that has files, by name."""
    found = []
    for each in _listed(os.path.join(paths.home(), "stacks")):
        with contextlib.suppress(ConfigError):
            if is_dir(each):
                found.append(StackPaths(names.check_name(os.path.basename(each))))
    return found


def of_stack(stack: StackPaths) -> list[Belonging]:
    """Its keys, logs, rendered files and the rest, by the names that stackctl gives."""
    ours = {
        os.path.basename(place)
        for slot in StackPaths.__slots__
        if os.path.dirname(place := str(getattr(stack, slot))) == stack.root
    } | {"services", "control.sock"}  # runstate.py, control.py
    words = {stack.client_key: "client key", stack.logs: "logs", stack.gateway_dir: "rendered files"}
    return [
        of(words.get(each, "state"), each, stack=stack.name)
        for each in _listed(stack.root)
        if (name := os.path.basename(each)) in ours or name.startswith(tuple(f"{known}." for known in ours))
    ]


def old_of_stack(stack: StackPaths, now: float) -> list[Belonging]:
    """Old logs and remains of a stack that does not run."""
    if runstate.is_locked(stack):
        return []
    corrupt = os.path.basename(stack.state) + ".corrupt-"
    found = [of("old log", each, stack=stack.name) for each in _listed(stack.logs) if _age(each, now) > OLD]
    for each in of_stack(stack):
        name = os.path.basename(each.path)
        if name.startswith(corrupt) and _age(each.path, now) > OLD:
            found.append(Belonging("corrupt state", each.path, each.size, stack=stack.name))
        elif name.endswith((".tmp", ".new")) and os.path.isfile(each.path) and _age(each.path, now) > _HALF:
            found.append(Belonging("half-written", each.path, each.size, stack=stack.name))
    return found


def trial_left() -> str:
    """The directory of a trial of new environments that was killed; empty when there is none."""
    stack = StackPaths(TRIAL)
    ours = os.path.lexists(paths.trial_file()) and os.path.lexists(stack.root)
    return stack.root if ours and not runstate.is_locked(stack) else ""


def _age(path: str, now: float) -> float:
    try:
        return now - os.lstat(path).st_mtime
    except OSError:
        return 0.0


# --- caches and the rest --------------------------------------------------------------------------------------------


def caches() -> list[Belonging]:
    """The compilation caches."""
    return [of("cache", each) for each in _listed(paths.cache_dir())]


def stale_caches(now: float) -> list[Belonging]:
    """Compilation results that nothing has read or written for a long time."""
    compiled = os.path.join(paths.cache_dir(), "vllm", "torch_compile_cache")
    parts = [each for kind in _listed(paths.cache_dir()) for each in _listed(kind) if each != compiled]
    return [of("stale cache", each) for each in [*parts, *_listed(compiled)] if now - _used(each) > STALE]


def _used(path: str) -> float:
    """When any file below was last read or written, as far as the file system keeps count; unix time."""
    latest = 0.0
    for each in [path, *_files(path)]:
        with contextlib.suppress(OSError):
            facts = os.lstat(each)
            latest = max(latest, facts.st_mtime, facts.st_atime if stat.S_ISREG(facts.st_mode) else 0.0)
    return latest


def rest() -> list[Belonging]:
    """Trusted hashes, records of fetched models and chosen environments, settings for clients of stacks elsewhere."""
    clients = os.path.join(paths.home(), "clients")  # commands/env.py
    chosen_ones = paths.environments_file()
    found = (paths.trust_file(), paths.models_file(), paths.trial_file(), chosen_ones, f"{chosen_ones}.lock", clients)
    return [of("record", each) for each in found if os.path.lexists(each)]


def hub_models() -> list[Belonging]:
    """The models that stackctl fetched from the hub, with the hub's own locks for them."""
    found = []
    for each in fetched.known_models():
        found.append(of(f"model {each.model}", each.directory))
        cache, name = os.path.split(each.directory)
        beside = os.path.join(cache, ".locks", name)
        if is_dir(beside):
            found.append(of("lock", beside))
    return found


def services() -> list[Belonging]:
    """The systemd units that stackctl wrote."""
    return [of("service", each) for each in units.installed()]


def configuration() -> list[Belonging]:
    """The user's own configuration directory."""
    directory = paths.config_dir()
    return [of("configuration", directory)] if is_dir(directory) else []


def leftovers() -> list[str]:
    """What stands in our directories after all: other people's files, and the configuration."""
    directories = [paths.home(), os.path.join(paths.home(), "stacks"), *(stack.root for stack in stacks())]
    return [
        each
        for directory in directories
        for each in _listed(directory)
        if each not in {*directories, paths.config_dir(), paths.envs_dir()}
    ]


def now() -> float:
    """Unix time in seconds, as files have it."""
    return time.time()
