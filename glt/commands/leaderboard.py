"""glt leaderboard."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from glt.commands.options import ROOT
from glt.errors import GltError


@click.group()
def leaderboard() -> None:
    """A board of tickets that anyone can check: build it, submit to it, verify an entry."""


@leaderboard.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("leaderboard"), show_default=True, help="Folder."
)
@ROOT
@click.option("--latency", is_flag=True, help="Also time forward passes: 100 after 20 to warm up.")
@click.option("--run-missing", is_flag=True, help="Train mandatory controls that have no record here.")
@click.option("--again", is_flag=True, help="Measure every ticket again, those of the last build too.")
@click.option("--update", is_flag=True, help="Keep the rows of the board in that folder that are not measured now.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Time for each packed entry; 0: no limit.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads (default: torch's choice).")
@click.option("--json", "as_json", is_flag=True, help="The board as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def build(
    paths: tuple[Path, ...],
    output: Path,
    root: Path | None,
    latency: bool,
    run_missing: bool,
    again: bool,
    update: bool,
    seconds: float,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compute the board from runs (default: runs) and entries: every ticket is measured anew.

    Writes LEADERBOARD.md and leaderboard.json to the output folder, and keeps what was measured in measured.jsonl, by
    the digest of each ticket and of the code that measured it. What does not verify is listed with the reason. With
    --update the board grows: rows of an earlier one whose tickets are not here stay as they were measured, and say by
    what.

    \b
    glt leaderboard build runs entries/*.zip -o benchmarks
    """  # noqa: D301 - click reads the backspace
    from dataclasses import replace

    from glt.commands import device as machine
    from glt.files import atomic
    from glt.leaderboard.build import build as build_board
    from glt.leaderboard.kept import rows_of
    from glt.leaderboard.limits import LIMITS
    from glt.leaderboard.ranking import as_json as tree_of
    from glt.leaderboard.render import render
    from glt.results import Results

    machine.use("cpu", threads)
    memory = output / "measured.jsonl"
    earlier = rows_of(output / "leaderboard.json") if update else []
    if again:
        memory.unlink(missing_ok=True)
    board = build_board(
        paths or [Path("runs")],
        root,
        limits=replace(LIMITS, seconds=seconds),
        latency=latency,
        run_missing=run_missing,
        memory=Results(memory),
        earlier=earlier,
        on_entry=None if quiet else lambda path: click.echo(f"measuring {path}", err=True),
    )
    for name, text in (("LEADERBOARD.md", render(board)), ("leaderboard.json", tree_of(board))):
        with atomic(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if as_json:
        click.echo(tree_of(board), nl=False)
        return
    for row in board.rows:
        why = f"not ranked: {row.unranked}" if row.unranked else ""
        ranks = ", ".join(f"{name} {rank}" for name, rank in row.ranks.items())
        what = ", ".join((row.track, row.dataset, row.backbone, row.method))
        click.echo(f"{row.name}: {what}: " + (why or (f"ranks {ranks}" if ranks else "listed")))
    for source, reason in board.rejected:
        click.echo(f"rejected  {source}: {reason}")
    click.echo(f"board     {output / 'LEADERBOARD.md'}")


@leaderboard.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Zip file (default: <config id>.zip).")
@click.option("--name", help="What the entry is called (default: of its run).")
@click.option("--author", default="", help="Who found it.")
@click.option("--notes", default="", help="What people should know.")
@click.option("--n-configs", type=click.IntRange(min=1), help="Configurations tried to find this one.")
def submit(folder: Path, output: Path | None, name: str | None, author: str, notes: str, n_configs: int | None) -> None:
    """Package a run as an entry for somebody else's board: tickets, records and controls in one zip file.

    FOLDER is a run's, with the tickets of one experiment in seed*/level*.safetensors.
    """
    from glt.leaderboard.entry import pack, runs_under

    runs = runs_under(folder)
    if len(runs) != 1:
        many = f"the tickets of {len(runs)} experiments: give one of {', '.join(map(str, runs[:5]))}"
        raise GltError(f"{folder} holds {many if runs else 'no tickets of an experiment (seed*/level*.safetensors)'}")
    target = output or Path(f"{runs[0].name}.zip")
    manifest = pack(runs[0], target, name or f"{runs[0].parent.name} {runs[0].name}"[:80], author, notes, n_configs)
    if manifest.n_configs is None:
        click.echo("note: the number of configurations tried is not stated; give it with --n-configs", err=True)
    click.echo(f"{target}: {len(manifest.files)} files, {target.stat().st_size:,} bytes")
    click.echo(f"next     glt leaderboard verify {target}")


@leaderboard.command()
@click.argument("entry", type=click.Path(path_type=Path))
@ROOT
@click.option("--seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="0 is no limit.")
@click.option("--memory", type=click.FloatRange(min=0.1), default=8.0, show_default=True, help="GiB it may need.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(entry: Path, root: Path | None, seconds: float, memory: float, as_json: bool) -> None:
    """Check an ENTRY (a folder or a zip file) that anybody may have made.

    Every ticket is measured anew on the physically smaller graph, and every record held to it, in a process of its
    own that is bounded in time and memory. Nothing is unpickled. Exit code 1: it does not hold what it says; 2: it is
    no entry, or asks for too much; 3: its dataset is not here. How a ticket was found is not repeated: for that, glt
    verify TICKET --rerun.
    """
    from dataclasses import replace

    from glt.leaderboard import jail
    from glt.leaderboard.limits import LIMITS

    limits = replace(LIMITS, seconds=seconds, memory=int(memory * 2**30))
    try:
        found = jail.verify_apart(entry, root, limits)
    except GltError as error:
        if as_json:
            click.echo(json.dumps({"entry": str(entry), "verified": False, "reason": str(error)}))
        click.echo(f"{entry} is NOT verified: {error}", err=True)
        sys.exit(error.exit_code)
    if as_json:
        click.echo(json.dumps(found))
        return
    for rule in found["rules"]:
        click.echo(f"{rule['rule']:<10} {rule['status']:<9} {rule['reason']}")
    click.echo(f"{entry}: verified, {len(found['points'])} tickets, {found['track']} track")
