"""The command line: one command a file of :mod:`glt.commands`."""

from __future__ import annotations

import sys

import click

from glt.commands.bench import bench
from glt.commands.controls import controls
from glt.commands.cost import cost
from glt.commands.export import export
from glt.commands.leaderboard import leaderboard
from glt.commands.list import list_
from glt.commands.report import report
from glt.commands.results import results
from glt.commands.run import run
from glt.commands.show import show
from glt.commands.sparsify import sparsify
from glt.commands.sweep import sweep
from glt.commands.verify import verify
from glt.errors import GltError
from glt.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="glt")
def cli() -> None:
    """Graph lottery tickets: find, verify and use sparse sub-graphs with sparse sub-networks.

    Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 a check or a point failed,
    2 bad input, 3 a dataset is not available, 130 interrupted.
    """


for command in (run, sweep, list_, show, verify, controls, sparsify, export, cost, bench, results, leaderboard, report):
    cli.add_command(command)


def main() -> None:
    """Entry point: a mistake of the user's ends in one line and an exit code, never in a traceback."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.Abort:
        click.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except GltError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
