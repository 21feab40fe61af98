"""What several experiments need alike is made once: dense trainings, scores of edges, controls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from glt.errors import GltError
from glt.files import atomic
from glt.kernels.choice import asked
from glt.problem import Problem
from glt.provenance import versions
from glt.registry import spec_of
from glt.results import Record
from glt.ticket import Ticket
from glt.train import FitResult


@dataclass(frozen=True)
class Shared:
    """A folder into which experiments look before they train or score.

    What is found there has the bits that the experiment would have got itself: a key holds everything that they depend
    on, versions and threads included. One process makes a thing, others wait for it; a lock ends with its process.

    Attributes:
        folder: ``dense/<key>/seed0.safetensors`` (tickets of level 0), ``scores/<key>.safetensors`` and
            ``controls/<key>.json`` (what their records say of them).
    """

    folder: Path

    def dense(self, problem: Problem) -> FitResult:
        """The dense training of ``problem``, from the folder or trained now and put there.

        Raises:
            TrainingError: the training failed; the folder is left as it was.
        """
        key = _key(problem, backbone=problem.config["backbone"], train=problem.config["train"])
        path = self.folder / "dense" / key / f"seed{problem.seed}.safetensors"
        with _alone(path):
            try:
                ticket = Ticket.load(path)
                return restored(problem, ticket, ticket.metrics.pop("seconds"))
            except (GltError, KeyError):  # not there, or not whole
                pass
            result, ticket = problem.dense, problem.dense_ticket()
            ticket.metrics["seconds"] = result.seconds
            ticket.save(path)
        return result

    def scores(self, problem: Problem, pieces: tuple[Any, ...], make: Callable[[], Tensor]) -> Tensor:
        """Edge scores (float [edges]) that depend on the graph and ``pieces`` alone; ``make`` computes them."""
        spec = [spec_of(piece) for piece in pieces]
        split = {"without": problem.whole.get("split")} if problem.recipe.inductive else {}
        path = self.folder / "scores" / f"{_key(problem, scores=spec, **split)}.safetensors"
        with _alone(path):
            try:
                return load_file(path)["scores"].to(problem.data.x.device)
            except (OSError, SafetensorError, KeyError):
                pass
            scores = make()
            with atomic(path) as file:
                save_file({"scores": scores.cpu().contiguous()}, file)
        return scores

    def control(self, problem: Problem, about: Mapping[str, Any], make: Callable[[], Record]) -> Record:
        """What a control scored that depends on the problem and ``about`` alone; ``make`` trains and measures it.

        Raises:
            TrainingError: its training failed; the folder is left as it was.
        """
        setting = {part: problem.config[part] for part in ("backbone", "train")}
        key = _key(problem, **setting, seed=problem.seed, metric=problem.metric, control=about)
        path = self.folder / "controls" / f"{key}.json"
        with _alone(path):
            try:
                record: Record = json.loads(path.read_text())
            except (OSError, ValueError):  # not there, or not whole
                record = make()
                with atomic(path) as file:
                    file.write_text(json.dumps(record))
        return record


def restored(problem: Problem, ticket: Ticket, seconds: float) -> FitResult:
    """A dense training as its ticket holds it; logits are computed again, to the same bits."""
    model = ticket.restore(problem.model())
    m = ticket.metrics
    return FitResult(
        state={k: v.detach().clone() for k, v in model.state_dict().items()},
        logits=problem.logits(model, problem.data),
        val=m["val"],
        test=m["test"],
        epoch=m["epoch"],
        last_val=m["last_val"],
        last_test=m["last_test"],
        epochs=m["search_epochs"],
        seconds=seconds,
        kernels=ticket.versions.get("kernel", ""),
        captured=m.get("cuda_graph", "no"),
    )


def _key(problem: Problem, **more: Any) -> str:
    device = problem.data.x.device.type
    about = {
        "dataset": problem.config["dataset"],
        "graph": problem.edges.fingerprint(),
        "made by": [versions(), device, asked(), torch.are_deterministic_algorithms_enabled()],
        **more,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def _alone(path: Path) -> FileLock:
    """A lock on what is to be at ``path``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GltError(f"cannot write {path}: {error.strerror or error}") from None
    return FileLock(f"{path}.lock")
