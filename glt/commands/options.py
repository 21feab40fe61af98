"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

ROOT = click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")


def training(results: str) -> Callable[[Command], Command]:
    """What a command that trains is given besides its experiment: data, machine, and how it reports.

    Args:
        results: help of ``--json``.
    """
    options = (
        ROOT,
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N"),
        click.option("--threads", type=click.IntRange(min=1), help="CPU threads (default: torch's choice)."),
        click.option(
            "--kernel", metavar="NAME", help="How sparse products are computed (default: $GLT_KERNEL, else auto)."
        ),
        click.option("--deterministic", is_flag=True, help="The same bits every time on CUDA too; slower."),
        click.option("--json", "as_json", is_flag=True, help=results),
        click.option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
    )
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)
