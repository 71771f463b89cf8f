"""`stackctl models`."""

from __future__ import annotations

from typing import Annotated

import typer

from stackctl.cli.options import DebugOption, JsonOption, end

app = typer.Typer(help="Which models suit this machine, and why.", rich_markup_mode=None)
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face id.")]


@app.callback(invoke_without_command=True)
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


@app.command("list")
def models_list(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also what does not fit, and why.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Which models suit this machine, best first."""
    from stackctl.commands import models as command

    end(lambda: command.run(every=every), debug=debug, as_json=as_json)


@app.command("show")
def models_show(model: ModelArgument, *, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """What is known of a model: sizes, quantisations, parsers, licence, and from whom."""
    from stackctl.commands import models as command

    end(lambda: command.show(model), debug=debug, as_json=as_json)


@app.command("explain")
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

    end(lambda: command.explained(model, window=window), debug=debug, as_json=as_json)


@app.command("pull")
def models_pull(
    model: ModelArgument,
    *,
    revision: Annotated[str | None, typer.Option("--revision", metavar="REV", help="A branch, tag or commit.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Download a model now, so that `up` need not; goes on where it stopped."""
    from stackctl.commands import models as command

    end(lambda: command.pull(model, revision=revision), debug=debug, as_json=as_json)
