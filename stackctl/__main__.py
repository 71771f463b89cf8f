"""The entry point. `stackctl env` stands in shell start-up files, so it is answered without loading Typer."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:]
    if None in {sys.stdin, sys.stdout, sys.stderr}:
        from stackctl import output

        output.open_missing_streams()
    try:
        os.getcwd()
    except OSError as error:
        from stackctl import output
        from stackctl.errors import USAGE, StackError

        output.failure(StackError(f"the working directory is gone ({error.strerror})", remedy="cd, and type it again"))
        sys.exit(USAGE)
    if arguments[:1] == ["env"]:
        from stackctl.commands import env

        request = env.parse(arguments[1:])
        if request is not None:
            from stackctl import output

            sys.exit(output.edge(lambda: env.run(request), debug=False))
    from stackctl import cli

    sys.exit(cli.run())


if __name__ == "__main__":
    main()
