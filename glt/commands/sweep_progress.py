"""What a sweep shows while it runs: results as they come, every worker, the time left."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from glt.sweeps.estimate import Estimate
from glt.sweeps.status import running
from glt.sweeps.units import Unit
from glt.sweeps.work import Place

if TYPE_CHECKING:
    from rich.console import Group

    from glt.results import Record

EVERY = 0.25
"""Seconds between two looks."""


@contextmanager
def watching(
    units: Sequence[Unit],
    left: Sequence[Unit],
    place: Place,
    workers: int,
    estimate: Estimate,
    as_json: bool,
    quiet: bool,
) -> Iterator[Callable[[str], None]]:
    """Show what workers write into the sweep's folder; yields what says a line of one's own.

    Workers are known by their files alone, so it does not matter where they run. A terminal gets a live table, anything
    else lines; with ``as_json`` the records of all ``units`` go to stdout, earlier ones first.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    board = _Board(units, left, place, workers, estimate, as_json, quiet)
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal and not quiet else None
    over = threading.Event()

    def say(line: str) -> None:
        if live:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif not quiet:
            click.echo(line, err=True)

    def look() -> None:
        for line in board.news():
            say(line)
        if live:
            live.update(board.table(), refresh=True)

    def watch() -> None:
        while not over.wait(EVERY):
            look()

    board.news()  # what was there before is no news
    thread = threading.Thread(target=watch, daemon=True)
    if live:
        live.start()
    thread.start()
    try:
        yield say
    finally:
        over.set()
        thread.join()
        look()
        if live:
            live.stop()


class _Board:
    """What is known of a sweep from its files."""

    def __init__(
        self,
        units: Sequence[Unit],
        left: Sequence[Unit],
        place: Place,
        workers: int,
        estimate: Estimate,
        as_json: bool,
        quiet: bool,
    ) -> None:
        self.units = {unit.name: unit for unit in units}
        self.left = {unit.name: unit for unit in left}
        self.place, self.workers, self.estimate = place, workers, estimate
        self.as_json, self.quiet = as_json, quiet
        self.path = units[0].run.results.path
        self.read = 0
        self.first = True
        self.began: float | None = None  # when the first unit was: workers take a while to start
        self.ended: dict[str, str] = {}

    def news(self) -> list[str]:
        """Lines on what was recorded, and on units that an error ended, since the last call."""
        lines = []
        for record in self._new_records():
            unit = self.units.get(f"{record.get('config_id')}-seed{record.get('seed')}")
            if unit is None or (self.first and record["status"] != "ok"):
                continue
            if self.as_json:
                click.echo(json.dumps(record))
            if not self.first:
                lines.append(_line(unit, record))
        self.first = False
        for end in self.place.ends.holding(self.place.invocation):
            unit = self.units.get(end["unit"])
            if unit and end["unit"] not in self.ended and end.get("error"):
                lines.append(f"{unit.label} seed {unit.seed} {end['status']}: {end['error']}")
            self.ended[end["unit"]] = end["status"]
        return lines

    def _new_records(self) -> list[Record]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.read)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self.read += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "status" in record:
                found.append(record)
        return found

    def table(self) -> Group:
        """Every worker, and how far all is."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table

        now, busy = time.time(), running(self.place.status)
        bad = sum(state != "ok" for state in self.ended.values())
        done = len(self.units) - len(self.left) + len(self.ended) - bad
        said = f"{done} of {len(self.units)} points done, {bad} failed, {len(busy)} running"
        table = Table(box=SIMPLE_HEAD)
        for name in ("experiment", "seed", "doing", "epoch", "val", "for"):
            table.add_column(name, justify="left" if name in ("experiment", "doing") else "right")
        for told in busy.values():
            val = f"{told['val']:.3f}" if "val" in told else ""
            cells = (told["seed"], told.get("phase", "beginning"), told.get("epoch", ""), val)
            table.add_row(told["label"], *map(str, cells), duration(now - told["started"]))
        said += f", {duration(self.time_left(busy))} left"
        return Group(said, table) if busy else Group(said)

    def time_left(self, busy: dict[str, dict[str, Any]]) -> float | None:
        """Seconds until all is done, by what came to an end so far; before that, by the estimate."""
        if busy and self.began is None:
            self.began = time.monotonic()
        over = waiting = 0.0
        for name, unit in self.left.items():
            cost = self.estimate.cost(unit)
            part = 1.0 if name in self.ended else min(1.0, busy.get(name, {}).get("epochs", 0) / unit.epochs)
            over += part * cost
            waiting += (1 - part) * cost
        if over and self.began is not None:
            return (time.monotonic() - self.began) * waiting / over
        known = all(self.estimate.seconds(unit) is not None for unit in self.left.values())
        return waiting / self.workers if known else None


def _line(unit: Unit, record: Record) -> str:
    what = f"level {record['level']}" if record["level"] else "dense"
    if record.get("control"):
        what += f" control {record['control']}"
    said = f"{unit.label} seed {unit.seed} {what}"
    if record["status"] != "ok":
        return f"{said} {record['status']}: {record['error']}"
    return f"{said}: val {record['val']:.3f} test {record['test']:.3f}"


def duration(seconds: float | None) -> str:
    """``"1:02:03"``, ``"2:03"`` or ``"3.2 s"``; ``"?"`` for None."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
