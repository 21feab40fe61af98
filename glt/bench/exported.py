"""Exported models on the graph they were exported with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.utils._pytree import tree_leaves

from glt.bench.variants import Runner
from glt.compact.programs import KEY
from glt.errors import GltError
from glt.export import arguments, load

SUFFIXES = (".pt2", ".onnx")
FATAL = 4
"""Of onnxruntime's levels, the highest: it logs, and raises, what goes wrong."""


def is_exported(path: Path) -> bool:
    """Whether a file is an exported model, not a ticket."""
    if path.suffix in SUFFIXES:
        return True
    try:
        with safe_open(str(path), framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False  # whoever reads it as a ticket says what is wrong


def reloaded(path: Path, compact: Any = None, device: str = "cpu") -> Runner:
    """An exported file, ready for the graph it was exported with, on the device that is asked for.

    Args:
        path: ``.safetensors`` with its graph, ``.pt2`` (loading it unpickles), or ``.onnx``.
        compact: for ``.onnx``, which holds no graph: the compact model of its ticket.
        device: cpu, cuda or cuda:N.

    Raises:
        GltError: no graph in it, a broken file, a missing package, or a file for another device.
    """
    if not path.is_file():
        raise GltError(f"there is no file {path}")
    if path.suffix == ".pt2":
        return _program(path, device)
    if path.suffix == ".onnx":
        if device != "cpu":
            raise GltError(f"{path} is timed on cpu alone, not on {device}: leave it out, or take --device cpu")
        return _onnx(path, compact)
    made = load(path)
    if made.ready is None:
        raise GltError(f"{path} was exported without its graph (--no-graph): export it with the graph to time it")
    made.to(device)
    return Runner(made, (made, made.ready))


def _program(path: Path, device: str) -> Runner:
    try:
        with _quiet("torch.export"):
            program = torch.export.load(str(path))
    except Exception as error:
        raise GltError(f"{path} is not a readable torch.export program: {type(error).__name__}") from None
    if program.example_inputs is None:
        raise GltError(f"{path} holds no graph: write it with glt export")
    module, (inputs, named) = program.module(), program.example_inputs
    own = {leaf.device.type for leaf in tree_leaves((inputs, named)) if isinstance(leaf, torch.Tensor)}
    if own != {torch.device(device).type}:
        raise GltError(f"{path} was exported on {', '.join(sorted(own))}: export it again with --device {device}")
    return Runner(lambda: module(*inputs, **named), (module, inputs, named))


def _onnx(path: Path, compact: Any) -> Runner:
    try:
        import onnxruntime
    except ImportError:
        raise GltError("timing an ONNX file needs onnxruntime: pip install onnxruntime") from None
    if compact is None:
        raise GltError(f"{path} holds no graph: name the ticket it was exported from before it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = FATAL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise GltError(f"{path} is not a readable ONNX model: {type(error).__name__}") from None
    tensors = [leaf.numpy() for leaf in tree_leaves(arguments(compact, renumbered=False)) if leaf is not None]
    names = [i.name for i in session.get_inputs()]
    if len(names) != len(tensors):
        raise GltError(f"{path} takes {len(names)} tensors, this ticket's graph is {len(tensors)}: another ticket's?")
    given = dict(zip(names, tensors, strict=True))

    def call() -> torch.Tensor:
        try:
            return torch.from_numpy(session.run(None, given)[0])
        except Exception as error:
            reason = f"{type(error).__name__}: another ticket's?"
            raise GltError(f"{path} does not run on this ticket's graph: {reason}") from None

    return Runner(call, None)


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Nothing is logged there within the block: what is wrong with a file is said in one line."""
    log = logging.getLogger(logger)
    log.addFilter(_nothing)
    try:
        yield
    finally:
        log.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
