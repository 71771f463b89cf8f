"""Where vLLM and LiteLLM come from: the user's own Python, ours, or a managed environment.

`locate` finds, `check` judges, `requirements` says what a machine lacks before anything is downloaded, `install`
makes the managed environment, `chosen` is which of several is in use.
"""

from stackctl.toolchain.check import check
from stackctl.toolchain.chosen import waiting
from stackctl.toolchain.install import install
from stackctl.toolchain.locate import locate
from stackctl.toolchain.requirements import requirements
from stackctl.toolchain.types import Accelerator, Gpu, Host, Toolchain

__all__ = ["Accelerator", "Gpu", "Host", "Toolchain", "check", "install", "locate", "requirements", "waiting"]
