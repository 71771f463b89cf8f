# ruff: noqa: INP001 - a script, not a package
"""Write the lock files of the managed environments (stackctl/locks/*.txt) from their `.in` files.

Run by `make lock`. The locks hold exact versions and hashes of wheels only, and name no index or host: where the
files come from is the user's business. Sources are taken from this machine's pip configuration, as the installer does.
"""

import hashlib
import os
import re
import sys
import tempfile

from stackctl.process import run
from stackctl.toolchain.builds import LOCKS_DIR, OLDEST_PYTHON, OVERRIDE
from stackctl.toolchain.sources import uv_environment
from stackctl.toolchain.uv import uv_binary

# One torch build for CPUs exists per interpreter and per index, so no one hash can be right for everybody.
_UNHASHED = re.compile(r"^(torch==[^\s\\]*\+cpu[^\\\n]*?) *\\\n(?:    --hash=\S+(?: \\)?\n)+", re.MULTILINE)


def compile_lock(name: str, *extra: str, env: dict[str, str]) -> None:
    """Resolve `name`.in for every supported interpreter and write `name`.txt; exits when that fails."""
    target = os.path.join(LOCKS_DIR, f"{name}.txt")
    # Solved from nothing, as the newest versions are wanted; --only-binary: nothing is built on the user's machine.
    done = run(
        [
            *[uv_binary(), "pip", "compile", f"{name}.in", "--universal", "--python-version", OLDEST_PYTHON],
            *["--generate-hashes", "--only-binary", ":all:", "--no-emit-index-url", "--no-emit-find-links"],
            *["--no-header", "--no-annotate", "--upgrade", "--quiet", "--output-file", target, *extra],
        ],
        env=env,
        cwd=LOCKS_DIR,
        timeout=600,
    )
    if done.returncode != 0:
        sys.exit(f"{name}: {done.output}")
    with open(target, encoding="utf-8") as stream:
        text = stream.read()
    with open(target, "w", encoding="utf-8") as stream:
        stream.write(_UNHASHED.sub(r"\1\n", text))


def drop_hollow(name: str, package: str, env: dict[str, str]) -> None:
    """Take the hash of a release's `any` wheel out of `name`.txt: without its shared library it cannot be imported."""
    target = os.path.join(LOCKS_DIR, f"{name}.txt")
    with open(target, encoding="utf-8") as stream:
        text = stream.read()
    found = re.search(rf"^{package}==([^ ;\\]+)", text, re.MULTILINE)
    if found is None:
        sys.exit(f"{name}: {package} is not in the lock any more")
    with tempfile.TemporaryDirectory() as place:
        argv = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--platform",
            "any",
        ]
        done = run([*argv, "--dest", place, f"{package}=={found[1]}"], env={**os.environ, **env}, timeout=300)
        if done.returncode != 0:
            sys.exit(f"{package}: {done.output}")
        with open(os.path.join(place, *os.listdir(place)), "rb") as wheel:
            digest = hashlib.sha256(wheel.read()).hexdigest()
    shorter = re.sub(rf" \\\n    --hash=sha256:{digest}", "", text)
    if shorter == text:
        sys.exit(f"{name}: the hash of {package}'s `any` wheel is not in the lock")
    with open(target, "w", encoding="utf-8") as stream:
        stream.write(shorter)


def main() -> None:
    """Make all four."""
    # An extra index often mirrors some files of a release only: the lock would lose the hashes of the others.
    mirrored = {"UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY"}
    sources = {name: value for name, value in uv_environment().items() if name not in mirrored}
    public = {name: value for name, value in sources.items() if name != "UV_FIND_LINKS"}
    compile_lock("gateway", env=public)
    drop_hollow("gateway", "soundfile", public)
    compile_lock("engine-cpu", "--override", OVERRIDE, env=sources)
    # Without find-links: a `torch+cpu` there would be preferred to the CUDA build of the same version.
    compile_lock("engine-cuda", "--override", OVERRIDE, env=public)
    compile_lock("embedded-model", "--no-deps", env=public)


if __name__ == "__main__":
    main()
