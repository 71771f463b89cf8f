"""The commands that start, show and stop a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stackctl.cli.options import (
    ConfigOption,
    DebugOption,
    GatewayOption,
    JsonOption,
    ModelOption,
    NameOption,
    UntestedOption,
    end,
    flags_of,
)

if TYPE_CHECKING:
    from stackctl import output


def up(
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    model: ModelOption = None,
    gateway: GatewayOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when the stack is ready; it goes on in the background.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written and run; do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    allow_untested: UntestedOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Start the stack, prove it with a real token, print the environment; Ctrl-C stops it."""
    from stackctl.commands import up as command

    flags = flags_of(config, name, model, gateway, allow_untested=allow_untested)
    end(
        lambda: command.run(flags, detach=detach, dry_run=dry_run, yes=yes, as_json=as_json),
        debug=debug,
        as_json=as_json,
    )


def down(
    *, config: ConfigOption = None, name: NameOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Stop the stack; return when nothing of it is left."""
    from stackctl.commands import down as command

    end(lambda: command.run(name, config), debug=debug, as_json=as_json)


def restart(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="engine or gateway alone, as it was started.")
    ] = None,
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    model: ModelOption = None,
    gateway: GatewayOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    allow_untested: UntestedOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Stop the stack and start it again in the background, on what the configuration says now."""
    from stackctl.commands import restart as command

    if service is not None:
        if model or gateway:
            raise typer.BadParameter("one service restarts as it was started: without --model and --gateway")
        end(lambda: command.one(service, name, config), debug=debug, as_json=as_json)
    flags = flags_of(config, name, model, gateway, allow_untested=allow_untested)
    end(lambda: command.run(flags, yes=yes, as_json=as_json), debug=debug, as_json=as_json)


def status(
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every stack that runs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """What runs, on which port, since when."""
    from stackctl.commands import status as command

    def look() -> output.Outcome:
        return command.run_all() if every else command.run(name, config)

    if watch and as_json:
        raise typer.BadParameter("--watch is for people: with --json, ask again")
    end((lambda: command.watch(look)) if watch else look, debug=debug, as_json=as_json)


def logs(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="engine, gateway or supervisor (else all of them).")
    ] = None,
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Nothing older: 30s, 10m, 2h, 1d or 2026-01-31T12:00.")
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option("--tail", "-n", min=0, metavar="N", help="Newest lines of each (100; all with --since)."),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """What the services wrote, without secrets; also when the stack is down."""
    from stackctl.commands import logs as command

    request = command.Request(name, config, service, follow=follow, since=since, tail=tail, as_json=as_json)
    end(lambda: command.run(request), debug=debug, as_json=as_json)


def render(
    *,
    config: ConfigOption = None,
    name: NameOption = None,
    model: ModelOption = None,
    gateway: GatewayOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where each value came from.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what differs from the files written last.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what would be written and run; do nothing."""
    from stackctl.commands import render as command

    flags = flags_of(config, name, model, gateway)
    end(lambda: command.run(flags, explain=explain, diff=diff), debug=debug, as_json=as_json)


def trust(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="Default: ./stack.yaml")] = None,
    *,
    code: Annotated[
        str | None,
        typer.Option(
            "--code", metavar="MODEL[@REV]", help="Let a model run the code that comes with it, as it is now."
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Let a stack.yaml that was found in the working directory, or a model's own code, be used as it is now."""
    from stackctl.commands import trust as command

    if code is not None and file is not None:
        raise typer.BadParameter("one thing at a time: a file, or --code MODEL")
    end(lambda: command.run(file) if code is None else command.code(code), debug=debug, as_json=as_json)
