"""The options that several commands take, each declared once, and how a command ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.config import Flags

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The configuration file (else ./stack.yaml once trusted, else your own)."
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The stack to act on.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="ID", help="A Hugging Face id, a path, or `embedded`.")
]
GatewayOption = Annotated[
    str | None,
    typer.Option("--gateway", metavar="KIND", help="litellm (default) or direct: vLLM's own Anthropic endpoint."),
]
UntestedOption = Annotated[
    bool, typer.Option("--allow-untested", help="Use versions of vLLM and LiteLLM outside the tested range.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]


def end(command: Callable[[], output.Outcome], *, debug: bool, as_json: bool = False) -> None:
    """Run a command, print what it came to, and leave with its exit code."""
    sys.exit(output.edge(command, debug=debug, as_json=as_json))


def flags_of(
    config: str | None, name: str | None, model: str | None, gateway: str | None, *, allow_untested: bool = False
) -> Flags:
    """What the command line says of the configuration."""
    from stackctl.config import Flags

    return Flags(config=config, name=name, model=model, gateway=gateway, allow_untested=allow_untested)
