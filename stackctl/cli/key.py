"""`stackctl key`."""

from __future__ import annotations

from typing import Annotated

import typer

from stackctl.cli.options import (
    ConfigOption,
    DebugOption,
    GatewayOption,
    JsonOption,
    ModelOption,
    NameOption,
    end,
    flags_of,
)

app = typer.Typer(help="The key that clients send.", no_args_is_help=True)


@app.command("rotate")
def key_rotate(
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    model: ModelOption = None,
    gateway: GatewayOption = None,
    restart: Annotated[bool, typer.Option("--restart", "--yes", "-y", help="Restart a stack that runs.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make a new client key; shells that hold the old one are refused, with words."""
    from stackctl.commands import key as command

    flags = flags_of(config, name, model, gateway)
    end(lambda: command.rotate(flags, restart=restart, as_json=as_json), debug=debug, as_json=as_json)
