"""What a compact model from a file has to be, so that it can be run: a file may come from anybody.

Everything here raises ValueError, with what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from glt.compact.graphs import Csr, How, Operator

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def need(fine: bool, what: str) -> None:
    """Stop unless ``fine``."""
    if not fine:
        raise ValueError(what)


def is_whole(number: Any, start: int = 0, stop: float = float("inf")) -> bool:
    """Whether this is an int from ``start`` to below ``stop``."""
    return type(number) is int and start <= number < stop


def is_number(number: Any) -> bool:
    """Whether this is an int or a float."""
    return type(number) in (int, float)


def sizes_in(options: Mapping[str, Any], name: str, start: int = 0) -> list[int]:
    """The option ``name``: ints from ``start``."""
    sizes = options[name]
    need(isinstance(sizes, list) and all(is_whole(size, start) for size in sizes), f"{name} are {sizes!r}")
    return list(sizes)


def check_places(tensor: Any, below: int, what: str) -> None:
    """Places are int64 [n], from 0 to below a number."""
    need(isinstance(tensor, Tensor) and tensor.dtype == torch.int64 and tensor.dim() == 1, f"{what} are not places")
    need(not tensor.numel() or (int(tensor.min()) >= 0 and int(tensor.max()) < below), f"{what} are out of range")


def check_csr(matrix: Csr, rows: int, what: str) -> None:
    """Row pointers from 0 up to the number of entries, columns in range, as many floats. O(entries)."""
    ptr, index, values = matrix.tensors
    need(ptr.dtype == torch.int64 and ptr.shape == (rows + 1,), f"{what}: row pointers are not of {rows} rows")
    check_places(index, matrix.columns, f"the columns of {what}")
    need(values.is_floating_point() and values.shape == index.shape, f"{what} has another number of values")
    fine = int(ptr[0]) == 0 and int(ptr[-1]) == index.numel() and bool((ptr.diff() >= 0).all())
    need(fine, f"{what}: row pointers do not go from 0 to the number of entries")


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Floats of one dtype; other than them int64 and bytes."""
    kinds = {tensor.dtype for tensor in tensors.values()}
    floats = kinds - {torch.int64, torch.uint8}
    need(len(floats) <= 1 and floats <= set(FLOATS), f"tensors are of {', '.join(sorted(map(str, kinds)))}")


def check_entry(i: int, entry: Mapping[str, Any]) -> None:
    """A step's entry in the header: what it reads comes before it."""
    need(isinstance(entry["name"], str) and isinstance(entry["options"], dict), f"step {i} is not a step")
    need(is_whole(entry["width"], 1), f"step {i} has width {entry['width']!r}")
    need(isinstance(entry["inputs"], list), f"step {i} has no list of inputs")
    need(all(is_whole(j, 0, i) for j in entry["inputs"]), f"step {i} reads a step that does not come before it")


def check_operator(operator: Operator) -> None:
    """A known kind of operator, with numbers."""
    need(operator.how in get_args(How), f"there is no operator {operator.how!r}")
    numbers = is_number(operator.scale) and (operator.loops is None or is_number(operator.loops))
    need(numbers and type(operator.weighted) is bool, f"operator {operator.how!r} has options that are no numbers")


def check_graph(x: Tensor | Csr, operators: Sequence[Csr], place: Tensor | None, rows: int, columns: int) -> None:
    """Features and operators of one graph."""
    if isinstance(x, Csr):
        check_csr(x, rows, "the features")
    else:
        need(x.is_floating_point() and x.shape == (rows, columns), f"the features are not {rows} x {columns} numbers")
    for i, operator in enumerate(operators):
        check_csr(operator, rows, f"operator {i}")
    if place is not None:
        check_places(place, rows, "the nodes' places")
        need(torch.equal(place.sort().values, torch.arange(rows)), "nodes share a place")
