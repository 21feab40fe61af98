"""What a recorded model computes in vain, taken out: constant channels, and channels that nothing reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from glt.compact.ops import Expand, Opaque, Source, Step


def shrink(steps: Sequence[Step], output: int) -> tuple[list[Step], int]:
    """The same function in fewer channels: (steps, number of the output).

    Forwards it is found which channels are the same number for every node, whatever the graph and its features;
    backwards, which of the others reach the output. Only those are computed; constants go into biases.
    Cost: O(weights).
    """
    known: list[Tensor] = []
    for step in steps:
        known.append(step.known([known[i] for i in step.inputs]))
    live = [torch.zeros(step.width, dtype=torch.bool) for step in steps]
    live[output][:] = True
    kept = list(live)
    for i in reversed(range(len(steps))):
        kept[i] = live[i] & known[i].isnan()
        if _whole(steps[i]) and bool(live[i].any()):
            kept[i] = torch.ones_like(live[i])
        if bool(kept[i].any()):
            for j, need in zip(
                steps[i].inputs, steps[i].needs(kept[i], [known[j] for j in steps[i].inputs]), strict=True
            ):
                live[j] = live[j] | need
    new: list[Step] = []
    place: dict[int, int] = {}
    fitted: dict[tuple[int, bytes], int] = {}

    def fit(j: int) -> Callable[[Tensor], int]:
        def wanted(channels: Tensor) -> int:
            if j in place and torch.equal(channels, kept[j]):
                return place[j]
            key = (j, channels.numpy().tobytes())
            if key not in fitted:
                new.append(_expand(channels, kept[j], known[j], place.get(j)))
                fitted[key] = len(new) - 1
            return fitted[key]

        return wanted

    for i, step in enumerate(steps):
        if bool(kept[i].any()):
            sources = [Source(kept[j], known[j], place.get(j, -1), fit(j)) for j in step.inputs]
            made = step.shrunk(kept[i], sources)
            if isinstance(made, Step):
                new.append(made)
                made = len(new) - 1
            place[i] = made
    return new, fit(output)(torch.ones_like(kept[output]))


def _whole(step: Step) -> bool:
    return isinstance(step, Opaque) or step.kind == "mix"


def _expand(channels: Tensor, kept: Tensor, known: Tensor, place: int | None) -> Step:
    width, shared = int(channels.sum()), channels & kept
    row = torch.where(kept, 0.0, known.nan_to_num(0.0))[channels]
    if not bool(shared.any()):
        return Expand((), width, "constants", {"row": row})
    tensors: dict[str, Tensor | None] = {"row": row}
    if not torch.equal(shared, kept):
        tensors["take"] = shared[kept].nonzero().squeeze(1)
    if not torch.equal(shared, channels):
        tensors["put"] = shared[channels].nonzero().squeeze(1)
    return Expand((place if place is not None else -1,), width, "constants", tensors)
