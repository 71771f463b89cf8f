"""Typer signatures only; every command imports its own module when called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.config import Flags

app = typer.Typer(
    name="stackctl",
    help="Run Claude Code and other coding agents on a model of your own: vLLM and LiteLLM, started, verified, stopped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


def run() -> int:
    """Run the command line; return the exit code."""
    try:
        app()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    return 0


def _end(command: Callable[[], output.Outcome], *, debug: bool, as_json: bool = False) -> None:
    sys.exit(output.edge(command, debug=debug, as_json=as_json))


def _version(*, wanted: bool) -> None:
    if wanted:
        from stackctl import __version__

        output.data(f"stackctl {__version__}\n")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda value: _version(wanted=value), is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run coding agents on a model of your own."""


@app.command()
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

    flags = _flags(config, name, model, gateway, allow_untested=allow_untested)
    _end(
        lambda: command.run(flags, detach=detach, dry_run=dry_run, yes=yes, as_json=as_json),
        debug=debug,
        as_json=as_json,
    )


@app.command()
def down(
    *, config: ConfigOption = None, name: NameOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Stop the stack; return when nothing of it is left."""
    from stackctl.commands import down as command

    _end(lambda: command.run(name, config), debug=debug, as_json=as_json)


@app.command()
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
        _end(lambda: command.one(service, name, config), debug=debug, as_json=as_json)
    flags = _flags(config, name, model, gateway, allow_untested=allow_untested)
    _end(lambda: command.run(flags, yes=yes, as_json=as_json), debug=debug, as_json=as_json)


@app.command()
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
    _end((lambda: command.watch(look)) if watch else look, debug=debug, as_json=as_json)


@app.command()
def doctor(
    *,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="The configuration file, or a litellm_config.yaml of your own."
        ),
    ] = None,
    name: NameOption = None,
    model: ModelOption = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Any vLLM, LiteLLM or Claude-compatible server, made by hand."),
    ] = None,
    key_file: Annotated[
        str | None, typer.Option("--key-file", metavar="FILE", help="The key for --url (else your environment's).")
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="FILE", help="The log of a vLLM or LiteLLM made by hand; may be given twice."),
    ] = None,
    static: Annotated[bool, typer.Option("--static", help="Send no request to anything.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for a warning too.")] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Show each repair, ask, do it, look again, and undo what did not help.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --fix: ask nothing.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also what each check proves.")] = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="ID", help="Look at nothing: tell of a finding, or of a message you saw."),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            "--report", metavar="FILE", help="Also write all of it to a file for a bug report, without secrets."
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Which part of the chain fails, why, how that is known, and what to type."""
    from stackctl.commands import doctor as command
    from stackctl.commands.doctor_request import Request

    if explain is not None:
        _end(lambda: command.explain(explain), debug=debug, as_json=as_json)
    request = Request(
        _flags(config, name, model, None),
        url=url,
        key_file=key_file,
        static=static,
        strict=strict,
        verbose=verbose,
        fix=fix,
        yes=yes,
        logs=tuple(log or ()),
        report=report,
    )
    _end(lambda: command.run(request), debug=debug, as_json=as_json)


@app.command()
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
    _end(lambda: command.run(request), debug=debug, as_json=as_json)


@app.command()
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
    _end(lambda: command.run(request), debug=debug)


@app.command()
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

    flags = _flags(config, name, model, gateway, allow_untested=allow_untested)
    _end(
        lambda: command.run(client, tuple(arguments or ()), flags, down_after=down_after, dry_run=dry_run, yes=yes),
        debug=debug,
    )


@app.command()
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

    flags = _flags(config, name, model, gateway)
    _end(lambda: command.run(flags, explain=explain, diff=diff), debug=debug, as_json=as_json)


@app.command()
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
    _end(lambda: command.run(file) if code is None else command.code(code), debug=debug, as_json=as_json)


key_app = typer.Typer(help="The key that clients send.", no_args_is_help=True)
app.add_typer(key_app, name="key")


@key_app.command("rotate")
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

    flags = _flags(config, name, model, gateway)
    _end(lambda: command.rotate(flags, restart=restart, as_json=as_json), debug=debug, as_json=as_json)


@app.command()
def gc(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Remove old environments, half-made installs, old logs and stale caches, with their sizes."""
    from stackctl.commands import gc as command

    _end(lambda: command.run(dry_run=dry_run, yes=yes), debug=debug, as_json=as_json)


@app.command()
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

    flags = _flags(config, name, None, None)
    _end(lambda: command.run(flags, back=back, dry_run=dry_run, yes=yes), debug=debug, as_json=as_json)


@app.command()
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
    _end(lambda: command.run(request), debug=debug, as_json=as_json)


service_app = typer.Typer(help="The stack as a systemd user service.", no_args_is_help=True)
app.add_typer(service_app, name="service")


@service_app.command("install")
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

    flags = _flags(config, name, model, gateway)
    _end(lambda: command.install(flags, now=now, dry_run=dry_run), debug=debug, as_json=as_json)


@service_app.command("uninstall")
def service_uninstall(
    *, config: ConfigOption = None, name: NameOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Stop the service and remove its unit."""
    from stackctl.commands import service as command

    _end(lambda: command.uninstall(name, config), debug=debug, as_json=as_json)


@service_app.command("status")
def service_status(
    *, config: ConfigOption = None, name: NameOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """What systemd says of the service."""
    from stackctl.commands import service as command

    _end(lambda: command.status(name, config), debug=debug, as_json=as_json)


@app.command()
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

    _end(
        lambda: command.run(here=here, model=model, gateway=gateway, yes=yes or as_json, force=force),
        debug=debug,
        as_json=as_json,
    )


models_app = typer.Typer(help="Which models suit this machine, and why.", rich_markup_mode=None)
app.add_typer(models_app, name="models")
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face id.")]


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also what does not fit, and why.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Which models suit this machine, best first."""
    if context.invoked_subcommand is None:
        models_list(every=every, as_json=as_json, debug=debug)


@models_app.command("list")
def models_list(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also what does not fit, and why.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Which models suit this machine, best first."""
    from stackctl.commands import models as command

    _end(lambda: command.run(every=every), debug=debug, as_json=as_json)


@models_app.command("show")
def models_show(model: ModelArgument, *, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """What is known of a model: sizes, quantisations, parsers, licence, and from whom."""
    from stackctl.commands import models as command

    _end(lambda: command.show(model), debug=debug, as_json=as_json)


@models_app.command("explain")
def models_explain(
    model: ModelArgument,
    *,
    window: Annotated[
        int | None, typer.Option("--window", min=1, metavar="TOKENS", help="Ask for this window.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Where this machine's memory would go with a model, and the flags that follow."""
    from stackctl.commands import models as command

    _end(lambda: command.explained(model, window=window), debug=debug, as_json=as_json)


@models_app.command("pull")
def models_pull(
    model: ModelArgument,
    *,
    revision: Annotated[str | None, typer.Option("--revision", metavar="REV", help="A branch, tag or commit.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Download a model now, so that `up` need not; goes on where it stopped."""
    from stackctl.commands import models as command

    _end(lambda: command.pull(model, revision=revision), debug=debug, as_json=as_json)


def _flags(
    config: str | None, name: str | None, model: str | None, gateway: str | None, *, allow_untested: bool = False
) -> Flags:
    from stackctl.config import Flags

    return Flags(config=config, name=name, model=model, gateway=gateway, allow_untested=allow_untested)
