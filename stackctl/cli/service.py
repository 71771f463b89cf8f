"""`stackctl service`."""

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

app = typer.Typer(help="The stack as a systemd user service.", no_args_is_help=True)


@app.command("install")
def service_install(
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    model: ModelOption = None,
    gateway: GatewayOption = None,
    now: Annotated[bool, typer.Option("--now", help="Start it too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit; write nothing.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run the stack when you log in, or at boot where lingering is on."""
    from stackctl.commands import service as command

    flags = flags_of(config, name, model, gateway)
    end(lambda: command.install(flags, now=now, dry_run=dry_run), debug=debug, as_json=as_json)


@app.command("uninstall")
def service_uninstall(
    *, config: ConfigOption = None, name: NameOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Stop the service and remove its unit."""
    from stackctl.commands import service as command

    end(lambda: command.uninstall(name, config), debug=debug, as_json=as_json)


@app.command("status")
def service_status(
    *, config: ConfigOption = None, name: NameOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """What systemd says of the service."""
    from stackctl.commands import service as command

    end(lambda: command.status(name, config), debug=debug, as_json=as_json)
