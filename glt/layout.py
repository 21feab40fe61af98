"""Where the results, the tickets and the half-way searches of one config are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glt.checkpoint import Checkpoint
from glt.config import Config
from glt.results import Record, Results
from glt.shared import Shared


@dataclass(frozen=True)
class Run:
    """Where one config's results live.

    Attributes:
        config: the experiment.
        results: its JSONL file.
        folder: its ticket files, ``<folder>/seed0/level05.safetensors``.
        shared: where dense trainings, scores and controls are that other experiments need too, if any do.
        n_configs: how many configurations of its method, backbone and dataset are tried; recorded where it is known.
    """

    config: Config
    results: Results
    folder: Path
    shared: Shared | None = None
    n_configs: int | None = None

    @classmethod
    def under(cls, config: Config, out: Path) -> Run:
        """The usual layout: ``<out>/<name>/results.jsonl`` and ``<out>/<name>/<id>/``."""
        return cls(config, Results(out / config.name / "results.jsonl"), out / config.name / config.id)

    def path(self, seed: int, level: int) -> Path:
        """The ticket file of a point."""
        return self.folder / f"seed{seed}" / f"level{level:02d}.safetensors"

    def checkpoint(self, seed: int) -> Checkpoint:
        """Where a seed's search is between two levels."""
        return Checkpoint(self.folder / f"seed{seed}" / "search.safetensors")

    def records(self, seed: int) -> dict[int, Record]:
        """By level, the finished records of a seed's points whose tickets are still there; one look at the results."""
        found = self.results.finished(config_id=self.config.id, seed=seed, control=None)
        latest = {record["level"]: record for record in found}
        return {level: record for level, record in latest.items() if self.path(seed, level).exists()}
