"""glt: graph lottery tickets, found, verified and made smaller, on any PyG model."""

from glt import transforms
from glt.constraints import freeze_weights, project_weights, prunable_weights
from glt.controlled import controls
from glt.cost import cost
from glt.datasets import load
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.find import find
from glt.problem import Problem
from glt.registry import build, names, register
from glt.schedules.geometric import Geometric
from glt.schedules.grid import Grid
from glt.schedules.level import Level
from glt.schedules.linear import Linear
from glt.schedules.oneshot import OneShot
from glt.select import keep_top
from glt.selection import Selection
from glt.ticket import Ticket
from glt.train import Recipe
from glt.version import __version__

__all__ = [
    "Geometric",
    "GltError",
    "Grid",
    "Level",
    "Linear",
    "OneShot",
    "Problem",
    "PrunableEdges",
    "Recipe",
    "Selection",
    "Ticket",
    "__version__",
    "build",
    "controls",
    "cost",
    "find",
    "freeze_weights",
    "keep_top",
    "load",
    "names",
    "project_weights",
    "prunable_weights",
    "register",
    "transforms",
]
