"""The wheel alone, installed elsewhere, plans and renders: templates, locks and catalogue are inside."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]


def run(*argv: str | Path, **env: str) -> str:
    done = subprocess.run(
        [str(each) for each in argv], env={"PATH": os.environ["PATH"], **env}, cwd=env.get("HOME", ROOT),
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_renders_where_it_is_installed(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist")
    (wheel,) = (tmp_path / "dist").iterdir()
    inside = zipfile.ZipFile(wheel).namelist()
    assert "stackctl/templates/litellm_config.yaml.j2" in inside
    programs = {f"stackctl/gateway_{name}.py" for name in ("auth", "blocks", "content", "engines")}
    assert programs <= set(inside)
    assert not [name for name in inside if name.startswith(("tests/", "examples/"))]
    place = tmp_path / "elsewhere"
    run(sys.executable, "-m", "venv", "--without-pip", place)
    uv = Path(sys.executable).with_name("uv")
    run(uv, "pip", "install", "--quiet", "--no-deps", "--python", place, wheel, HOME=str(tmp_path))
    # its dependencies come from the development environment; stackctl itself does not: a .pth is not followed twice
    packages = next((place / "lib").glob("python3*")) / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    where = run(place / "bin" / "python", "-c", "import stackctl; print(stackctl.__file__)", HOME=str(tmp_path))
    assert where.startswith(str(place))
    shown = run(
        place / "bin" / "stackctl", "render", "-c", ROOT / "examples" / "recipe" / "stack.yaml",
        HOME=str(tmp_path), STACKCTL_HOME=str(tmp_path / "state"),
    )  # fmt: skip
    assert 'model_name: "claude-3-5-sonnet-20241022"' in shown
    assert "--tool-call-parser hermes" in shown
    assert not (tmp_path / "state").exists()
