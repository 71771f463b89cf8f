"""The command line: signatures only, by groups; every command imports its own module when called."""

from __future__ import annotations

from typing import Annotated

import typer

from stackctl import output
from stackctl.cli import clients, doctor, keeping, key, models, service, stack

app = typer.Typer(
    name="stackctl",
    help="Run Claude Code and other coding agents on a model of your own: vLLM and LiteLLM, started, verified, stopped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, group in (("key", key.app), ("service", service.app), ("models", models.app)):
    app.add_typer(group, name=name)
for command in (
    stack.up,
    stack.down,
    stack.restart,
    stack.status,
    doctor.doctor,
    stack.logs,
    clients.env,
    clients.launch,
    stack.render,
    stack.trust,
    keeping.gc,
    keeping.upgrade,
    keeping.uninstall,
    keeping.init,
):
    app.command()(command)


def run() -> int:
    """Run the command line; return the exit code."""
    try:
        app()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    return 0


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
