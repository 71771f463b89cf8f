"""`stackctl doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from stackctl.cli.options import DebugOption, JsonOption, ModelOption, NameOption, end, flags_of


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
    shell: Annotated[
        str | None,
        typer.Option(
            "--shell", metavar="SHELL", help="With --fix: print for this shell to eval what mends its variables."
        ),
    ] = None,
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
        end(lambda: command.explain(explain), debug=debug, as_json=as_json)
    request = Request(
        flags_of(config, name, model, None),
        url=url,
        key_file=key_file,
        static=static,
        strict=strict,
        verbose=verbose,
        fix=fix,
        yes=yes,
        logs=tuple(log or ()),
        report=report,
        shell=shell,
        as_json=as_json,
    )
    end(lambda: command.run(request), debug=debug, as_json=as_json)
