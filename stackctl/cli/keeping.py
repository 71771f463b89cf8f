"""The commands that make, renew and remove what stackctl keeps on this machine."""

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


def init(
    *,
    here: Annotated[bool, typer.Option("--here", help="Write ./stack.yaml instead of your own configuration.")] = False,
    model: ModelOption = None,
    gateway: GatewayOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: what suits this machine.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a configuration that suits this machine, and show its plan."""
    from stackctl.commands import init as command

    end(
        lambda: command.run(here=here, model=model, gateway=gateway, yes=yes or as_json, force=force),
        debug=debug,
        as_json=as_json,
    )


def gc(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Remove old environments, half-made installs, old logs and stale caches, with their sizes."""
    from stackctl.commands import gc as command

    end(lambda: command.run(dry_run=dry_run, yes=yes), debug=debug, as_json=as_json)


def upgrade(
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    back: Annotated[bool, typer.Option("--back", help="Return to the environments that were in use before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make this version's environments beside the old ones, prove them with a real token, and switch."""
    from stackctl.commands import upgrade as command

    flags = flags_of(config, name, None, None)
    end(lambda: command.run(flags, back=back, dry_run=dry_run, yes=yes), debug=debug, as_json=as_json)


def uninstall(
    *,
    models: Annotated[
        bool, typer.Option("--models", help="Also the models that stackctl fetched from the hub.")
    ] = False,
    settings: Annotated[bool, typer.Option("--settings", help="Also your own configuration directory.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Stop every stack and remove all that stackctl made on this machine; it shows the list and asks."""
    from stackctl.commands import uninstall as command

    request = command.Request(models=models, settings=settings, dry_run=dry_run, yes=yes)
    end(lambda: command.run(request), debug=debug, as_json=as_json)
