"""The one program that installs: uv, which comes as a dependency from the package registry."""

from __future__ import annotations

import uv

from stackctl.errors import StackError


def uv_binary() -> str:
    """The absolute path of uv; StackError when its package was installed without it."""
    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise StackError(
            "uv is not installed where stackctl is", remedy="install stackctl again: pip install --force-reinstall uv"
        ) from error
