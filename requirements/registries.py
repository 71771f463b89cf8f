# ruff: noqa: INP001 - a script, not a package
"""Write stackctl/catalog/registries.yaml: which parsers each tested vLLM has, read from its wheel.

    python requirements/registries.py 0.32.0 0.33.0

The wheels (340 MB each) come through this machine's pip configuration. Nothing of them is imported or run.
"""

import hashlib
import os
import sys
import tempfile
import zipfile

from stackctl import vllm_registry
from stackctl.process import run

TARGET = os.path.join(os.path.dirname(vllm_registry.__file__), "catalog", "registries.yaml")
HEAD = """# The parsers of each tested vLLM: name -> the class behind it, in vllm/tool_parsers and vllm/reasoning of its wheel.
# Written by requirements/registries.py; not by hand.
schema: 1
releases:
"""


def wheel(version: str, place: str) -> str:
    """Download the wheel of a release into `place`; return its path."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    argv += ["--platform", "manylinux_2_28_x86_64", "--dest", place, f"vllm=={version}"]
    done = run(argv, timeout=1800)
    if done.returncode != 0:
        sys.exit(f"vllm {version}: {done.output}")
    return os.path.join(place, *os.listdir(place))


def release(version: str) -> str:
    """The lines of one release."""
    with tempfile.TemporaryDirectory() as place:
        path = wheel(version, place)
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines = [f'- version: "{version}"', f"  wheel: {os.path.basename(path)}", f"  sha256: {digest}"]
        with zipfile.ZipFile(path) as archive:
            for kind, (package, name) in (("tool", vllm_registry.TOOL), ("reasoning", vllm_registry.REASONING)):
                found = vllm_registry.table(archive.read(f"vllm/{package}/__init__.py"), name)
                if not found:
                    sys.exit(f"vllm {version}: no {name} in vllm/{package}/__init__.py any more")
                lines += [f"  {kind}:", *(f"    {parser}: {found[parser]}" for parser in sorted(found))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write them all, or nothing."""
    text = HEAD + "".join(release(version) for version in sys.argv[1:])
    with open(TARGET, "w", encoding="utf-8") as stream:
        stream.write(text)


if __name__ == "__main__":
    main()
