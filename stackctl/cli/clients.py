"""The commands for clients: their environment, and their start."""

from __future__ import annotations

from typing import Annotated

import typer

from stackctl.cli.options import (
    ConfigOption,
    DebugOption,
    GatewayOption,
    ModelOption,
    NameOption,
    UntestedOption,
    end,
    flags_of,
)


def env(
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    shell: Annotated[
        str | None,
        typer.Option(
            "--shell", metavar="SHELL", help="sh, bash, zsh, fish, pwsh, dotenv, json or claude-settings (else yours)."
        ),
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", metavar="CLIENT", help="claude (default), codex, opencode, qwen, cursor.")
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Undo what `env` set in this shell.")] = False,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="A gateway on another machine: http://BOX:4000")
    ] = None,
    key_file: Annotated[
        str | None, typer.Option("--key-file", metavar="FILE", help="Its client key (else $STACKCTL_KEY).")
    ] = None,
    planned: Annotated[
        bool, typer.Option("--planned", help="With nothing running: what the configuration promises.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes: for shell start-up files.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print a client's environment:  eval "$(stackctl env)"."""
    from stackctl.commands import env as command

    request = command.Request(
        config, name, shell=shell, client=client, url=url, key_file=key_file, unset=unset, planned=planned, quiet=quiet
    )
    end(lambda: command.run(request), debug=debug)


def launch(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="claude, codex, opencode or qwen.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS...]", help="Handed to the client as they are.")
    ] = None,
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    model: ModelOption = None,
    gateway: GatewayOption = None,
    down_after: Annotated[
        bool, typer.Option("--down-after", help="Stay as the client's parent and stop the stack when it ends.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run; do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    allow_untested: UntestedOption = False,
    debug: DebugOption = False,
) -> None:
    """Start the stack if it is not up, then a client on it:  stackctl launch claude."""
    from stackctl.commands import launch as command

    flags = flags_of(config, name, model, gateway, allow_untested=allow_untested)
    end(
        lambda: command.run(client, tuple(arguments or ()), flags, down_after=down_after, dry_run=dry_run, yes=yes),
        debug=debug,
    )
