"""Epochs as CUDA graphs: one launch instead of hundreds, for graphs so small that launching is what takes the time."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import torch
from torch_geometric.data import Data

from glt.errors import GltError, unknown

WARM_UP = 3
"""Epochs that run as usual first, since libraries and the optimiser set themselves up in them."""
SMALL = 2**20
"""Nodes plus arcs up to which epochs are captured; not yet measured.

A captured epoch computes the model's first layer twice, which larger graphs feel and small ones do not.
"""
VARIABLE = "GLT_CUDA_GRAPH"
ASKED = ("auto", "on", "off")
"""What it may say; ``on``: graphs of any size."""


def why_not(data: Data, stops: bool, waits: bool, whole: bool = True) -> str:
    """Why the epochs of a training are not captured; ``""`` where they are to be.

    Args:
        data: the graph.
        stops: somebody decides after every epoch whether to go on.
        waits: the validation metric is computed on the host.
        whole: every epoch is one step on the whole graph and its evaluation.

    Raises:
        GltError: the environment asks for something unknown.
    """
    if not data.x.is_cuda:
        return "not on CUDA"
    if (asked := os.environ.get(VARIABLE) or "auto") not in ASKED:
        raise GltError(unknown(VARIABLE, asked, ASKED))
    if asked == "off":
        return f"{VARIABLE}=off"
    if stops:
        return "the training may be stopped after every epoch"
    if not whole:
        return "mini-batches, or epochs without evaluation"
    if waits:
        return "the validation metric is computed on the host"
    if asked != "on" and data.num_nodes + data.num_edges > SMALL:
        return f"more than {SMALL} nodes and arcs"
    return ""


@functools.cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    """The one stream of a device for warming up and recording: memory and workspaces are kept for each stream."""
    return torch.cuda.Stream(device)


class Captured:
    """Calls ``epoch`` :data:`WARM_UP` times, then records it as a CUDA graph and replays that.

    Every call is one epoch. What cannot be recorded goes on as before, and :attr:`said` has the reason.

    Args:
        epoch: has to work in place and without waiting for the device; it takes and returns nothing.
        device: a CUDA device.
        generators: those that the epoch draws from besides the device's own.

    Attributes:
        said: ``"yes"``, or ``"no: ..."``; for the record of the training.
    """

    def __init__(
        self, epoch: Callable[[], None], device: torch.device, generators: Sequence[torch.Generator] = ()
    ) -> None:
        self.epoch, self.device, self.generators = epoch, device, generators
        self.said = f"no: at most {WARM_UP} epochs"
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = _beside(device)

    def __call__(self) -> None:
        """One epoch."""
        self._calls += 1
        if self._calls == WARM_UP + 1:
            self._capture()
        if self._graph is not None:
            self._graph.replay()
        elif self._calls <= WARM_UP:
            self._aside()
        else:
            self.epoch()

    def _aside(self) -> None:
        """On another stream, as torch asks of what comes before a capture."""
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            self.epoch()
        here.wait_stream(self._stream)

    def _capture(self) -> None:
        index = torch.cuda.current_device() if self.device.index is None else self.device.index
        generator = torch.cuda.default_generators[index]
        before = generator.clone_state()
        others = [other.clone_state() for other in self.generators]
        graph = torch.cuda.CUDAGraph()
        for other in self.generators:
            graph.register_generator_state(other)
        try:
            # the stream is entered twice: a capture that fails does not leave it, and the outer one does
            with torch.cuda.stream(self._stream), torch.cuda.graph(graph, stream=self._stream):
                self.epoch()
        except RuntimeError as error:  # nothing has run: the weights are those of the epoch before
            generator.graphsafe_set_state(before)  # a capture that fails leaves the generator in it
            for other, state in zip(self.generators, others, strict=True):
                other.graphsafe_set_state(state)
            torch.cuda.synchronize(self.device)
            self.said = "no: " + str(error).split("\n")[0]
            return
        self._graph, self.said = graph, "yes"
