"""What an entry's tickets were found on: read from their headers, refused before anything large is built."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch_geometric.data import Data

from glt.check import num_classes
from glt.config import SECTIONS, Config
from glt.errors import GltError
from glt.leaderboard.entry import parse
from glt.leaderboard.limits import Limits, NotVerified, shown
from glt.number import number
from glt.registry import build
from glt.ticket_file import KEY

MOST = 1_000
"""Largest number of layers, heads and the like that is believed to be meant."""
WIDE = 10**6
"""Largest width."""
LONG = 10_000
"""Largest number of epochs: controls are trained with the recipe of the entry."""


@dataclass(frozen=True)
class Header:
    """What a ticket file says of itself; nothing of it is true yet.

    Attributes:
        path: the file.
        digest: of its content, which reading it will hold it to.
        seed, level: its point.
        setting: its config without them.
        tree: all of it.
    """

    path: Path
    digest: str
    seed: int
    level: int
    setting: dict[str, Any]
    tree: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """The experiment of an entry.

    Attributes:
        config: the experiment.
        data: its graph.
        model: of its architecture, with any weights.
    """

    config: Config
    data: Data
    model: nn.Module


def header_of(path: Path, limits: Limits) -> Header:
    """Read a ticket's header, and no tensor.

    Raises:
        GltError: not a ticket, or a header that is too large or not plain JSON.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) == 8 and struct.unpack("<Q", start)[0] > limits.text:
        raise GltError(f"{path.name}: its header is larger than {limits.text:,} bytes")
    try:
        with safe_open(str(path), framework="pt") as opened:
            text = (opened.metadata() or {}).get(KEY)
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise GltError(f"{path.name} is not a readable ticket (truncated, or another kind of file): {why}") from None
    if text is None:
        raise GltError(f"{path.name} is a safetensors file but not a glt ticket: its header has no {KEY!r} entry")
    tree = parse(text, f"the header of {path.name}")
    config = tree.get("config") if isinstance(tree, dict) else None
    if not isinstance(config, dict) or not isinstance(tree.get("metrics"), dict):
        raise GltError(f"{path.name} does not say how it was found: its header has no config or no metrics")
    seed, level = config.get("seed"), config.get("level")
    if type(seed) is not int or type(level) is not int or not 0 <= seed < 2**31 or not 0 <= level < 10_000:
        raise GltError(f"{path.name}: seed = {shown(seed)}, level = {shown(level)} are not counts")
    setting = {k: v for k, v in config.items() if k not in ("seed", "level")}
    return Header(path, str(tree.get("digest")), seed, level, setting, tree)


def setting_of(headers: list[Header], root: Path | None, limits: Limits) -> Setting:
    """The experiment that all tickets of an entry name.

    Raises:
        GltError: an unknown name or option, a part that is not built in, or more memory than the limits allow.
        NotVerified: tickets of several experiments.
        DataUnavailable: no copy of the dataset.
    """
    first = headers[0]
    for other in headers[1:]:
        if other.setting != first.setting:
            odd = next(k for k in first.setting | other.setting if first.setting.get(k) != other.setting.get(k))
            raise NotVerified(f"{first.path.name} and {other.path.name} are of different experiments: {odd} differs")
    twins: dict[tuple[int, int], Header] = {}
    for header in headers:
        if (header.seed, header.level) in twins:
            raise NotVerified(f"two tickets are of seed {header.seed}, level {header.level}")
        twins[header.seed, header.level] = header
    sections = {part: first.setting[part] for part in (*SECTIONS, "train") if part in first.setting}
    if missing := [part for part in (*SECTIONS, "train") if part not in sections]:
        raise GltError(f"the tickets do not name a built-in {missing[0]}: only what can be built anew can be verified")
    for place, value in _numbers(sections):
        _bounded(place, value)
    _levels_bounded(sections["schedule"])
    config = Config(**sections)
    stated = first.setting.get("config_id")
    if stated is not None and stated != config.id:
        raise NotVerified(f"the tickets say config_id {shown(stated)}, their config is {config.id}")
    if getattr(config.dataset, "download", False):
        raise GltError("the entry asks for a download (dataset.download): fetch the dataset yourself, and leave it out")
    _fits("its dataset", _size_of_data(config.dataset), limits)
    data: Data = config.dataset(root)
    return Setting(config, data, _model(config, data, headers, limits))


def _numbers(tree: Any, place: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _numbers(value, f"{place}.{key}" if place else str(key))
    elif isinstance(tree, list):
        for value in tree:
            yield from _numbers(value, place)
    elif isinstance(tree, (int, float)) and not isinstance(tree, bool):
        yield place, tree


def _bounded(place: str, value: float) -> None:
    """What is counted one by one, layer by layer, may not be without end; seeds and data have bounds of their own."""
    section, option = place.split(".")[0], place.rpartition(".")[2]
    if section == "backbone" and abs(value) > (WIDE if option == "hidden" else MOST):
        most = WIDE if option == "hidden" else MOST
        raise GltError(f"{place} = {shown(value)} is more than a verification builds ({most:,})")
    if option == "epochs" and value > LONG:
        raise GltError(f"{place} = {shown(value)} is more than anybody else will train ({LONG:,})")
    if number(value) is None:
        raise GltError(f"{place} = {shown(value)} is not a number that can be computed with")


def _levels_bounded(spec: Any) -> None:
    """A schedule is walked through when it is made."""
    for place, value in _numbers(spec, "schedule"):
        if place.endswith("levels") and value > MOST:
            raise GltError(f"{place} = {shown(value)} is more than a verification walks through ({MOST:,})")


def _size_of_data(dataset: Any) -> float:
    """Bytes of a generated dataset while it is made; 0 of others, whose size is not an option."""
    nodes = float(getattr(dataset, "nodes", 0))
    width = getattr(dataset, "features", 0) if getattr(dataset, "dense", False) else getattr(dataset, "words", 0) * 6
    return nodes * (getattr(dataset, "avg_degree", 0) * 60 + width * 8)


def _model(config: Config, data: Data, headers: list[Header], limits: Limits) -> nn.Module:
    """Built without memory first."""
    widths = (int(data.x.size(1)), num_classes(data))
    for header in headers:
        how = header.tree.get("initial")
        if how is not None and (not isinstance(how, dict) or how.get("widths") != list(widths)):
            raise NotVerified(f"{header.path.name}: its initial weights are of other widths than {list(widths)}")
    try:
        with torch.device("meta"):
            numbers = sum(t.numel() for t in config.backbone(*widths).state_dict().values())
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:
        raise GltError(f"the backbone cannot be built: {' '.join(str(error).split())[:200]}") from None
    hidden = float(getattr(config.backbone, "hidden", 1)) * float(getattr(config.backbone, "mlp_layers", 1))
    _fits("its model", 4.0 * numbers * 4, limits)
    _fits("a layer's outputs", 4.0 * 4 * hidden * float(data.num_nodes or 0), limits)
    with torch.random.fork_rng([]):
        model: nn.Module = build("backbones", config.backbone)(*widths)
    return model


def _fits(what: str, size: float, limits: Limits) -> None:
    if not size <= limits.memory:
        raise GltError(f"{what} would need {size / 2**30:,.1f} GiB, more than the {limits.memory / 2**30:,.1f} allowed")
