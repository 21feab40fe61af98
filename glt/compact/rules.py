"""Rules that say how convolutions are written as steps: one file each in :mod:`glt.compact.convs`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

Rule = Callable[..., int | None]
_convs: dict[type, Rule] = {}


def lowers(conv: type) -> Callable[[Rule], Rule]:
    """Register how layers of exactly this class are written as steps: ``rule(record, layer, x, edge_index, ...)``.

    The rule is called with the layer's arguments by their names in its ``forward``, without those that are None
    anyway; ``x`` is a tensor, also where the layer was given the pair of it, ``record.value(x)`` the step it came from.
    The rule returns the number of the step that gives the layer's output, or None where the layer is used in a way
    that it does not know; then, and where it does not take an argument, the layer is left alone.
    """

    def wrap(rule: Rule) -> Rule:
        _convs[conv] = rule
        return rule

    return wrap


@cache
def rules() -> dict[type, Rule]:
    """Every rule by its class, of all the files of :mod:`glt.compact.convs`."""
    package = importlib.import_module("glt.compact.convs")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"glt.compact.convs.{module.name}")
    return _convs
