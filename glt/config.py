"""Config: one experiment, from YAML and ``-o section.option=value``; strict; hashed canonically."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from glt.errors import GltError, unknown
from glt.registry import FAMILIES, build, checked, get, names, options, singular, spec_of
from glt.schedules.level import Level
from glt.schedules.oneshot import OneShot
from glt.train import Recipe
from glt.training import MOST

SECTIONS = {"dataset": "datasets", "backbone": "backbones", "strategy": "strategies", "schedule": "schedules"}


MOST_SEEDS = 100_000


@checked("config")
class Config:
    """One experiment.

    ``dataset``, ``backbone``, ``strategy`` and ``schedule`` are a name or ``{name: ..., options}`` of the family;
    ``train`` holds options of :class:`~glt.train.Recipe`.
    """

    name: Annotated[str, Field(pattern=r"^[\w-][\w.-]*$", description="folder of the results under runs/")] = "run"
    dataset: Any = "cora"
    backbone: Any = "gcn"
    strategy: Any = "teddy"
    schedule: Any = "oneshot"
    train: Any = dataclasses.field(default_factory=dict)
    seeds: Annotated[Any, Field(description="how many seeds (0 to n-1), or the seeds")] = 1
    controls: Annotated[Any, Field(description="controls of every ticket: all, or a list of them")] = ()
    together: Annotated[Any, Field(description="models trained at once: a number, true, false or auto")] = False
    initial: Annotated[bool, Field(description="whether ticket files hold initial weights that a seed gives")] = True

    def __post_init__(self) -> None:
        """Build every section, so that any mistake is found before anything runs."""
        for section, family in SECTIONS.items():
            object.__setattr__(self, section, build(family, getattr(self, section)))
        if not isinstance(self.train, Recipe):
            if not isinstance(self.train, Mapping):
                raise GltError(f"train = {self.train!r} is not a mapping of options, e.g. {{epochs: 200}}")
            object.__setattr__(self, "train", Recipe(**{str(k): v for k, v in self.train.items()}))
        seeds = self.seeds
        if type(seeds) is int and seeds <= MOST_SEEDS:
            seeds = range(seeds)
        seeds = tuple(seeds) if isinstance(seeds, (range, list, tuple)) else ()
        if not seeds or not all(type(s) is int and s >= 0 for s in seeds) or len(set(seeds)) < len(seeds):
            raise GltError(f"seeds = {self.seeds!r}: give a count of at least 1, or different numbers, e.g. [0, 1]")
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "controls", controls_of(self.controls))
        object.__setattr__(self, "together", together_of(self.together))
        _ = self.levels  # rounds for a strategy without

    @property
    def levels(self) -> list[Level]:
        """The levels that are searched for; level 0 is the dense one, which every run has."""
        if getattr(self.strategy, "name", None) == "dense":
            return []
        if isinstance(self.schedule, OneShot):
            return self.schedule.levels(self.strategy)
        return [level for level in self.schedule if level.number]

    def spec(self) -> dict[str, Any]:
        """What defines the experiment: every section without options at their defaults.

        No name, seeds or controls: with others, the tickets are the same; nor together: they are, to rounding; nor
        initial, which says how they are stored.
        """
        sections = {section: spec_of(getattr(self, section)) for section in SECTIONS}
        return json.loads(json.dumps({**sections, "train": spec_of(self.train)}))

    @property
    def id(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON of :meth:`spec`.

        An option at its default is left out, so a new option with a neutral default renames no old result.
        """
        canonical = json.dumps(self.spec(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @classmethod
    def load(
        cls, path: str | Path | None, overrides: Sequence[str] = (), sections: Mapping[str, Any] | None = None
    ) -> Config:
        """A config from a YAML file (or none) with sections replaced and single options overridden.

        Args:
            path: YAML file; None starts from the defaults.
            overrides: ``"strategy.weight=10"``; the value is read as YAML.
            sections: whole sections to replace, before the overrides.

        Raises:
            GltError: not a readable YAML mapping, or an unknown section, name or option.
        """
        tree = _read(path) if path else {}
        tree |= sections or {}
        for text in overrides:
            override(tree, text)
        return cls(**tree)


def together_of(asked: Any) -> int | str:
    """How many models are trained at once: ``"auto"`` or a number; true is :data:`glt.training.MOST`, false is 1."""
    if type(asked) is bool:
        return MOST if asked else 1
    if asked == "auto" or (type(asked) is int and asked >= 1):
        number: int | str = asked
        return number
    raise GltError(f"together = {asked!r}: give auto, true, false, or how many models at once, at least 1")


def controls_of(which: Any) -> tuple[Any, ...]:
    """The controls of ``"all"``, or of a list of names and specs.

    Raises:
        GltError: neither of these, an unknown control or option, or the same control twice.
    """
    if which == "all":
        which = names("controls")
    if not isinstance(which, (list, tuple)):
        raise GltError(f"controls = {which!r}: give all, or a list of {', '.join(names('controls'))}")
    made = tuple(build("controls", spec) for spec in which)
    if twice := [spec_of(piece) for i, piece in enumerate(made) if piece in made[:i]]:
        raise GltError(f"controls: {twice[0]!r} is there twice")
    return made


def _read(path: str | Path) -> dict[str, Any]:
    return read_yaml(path, _fields())


def read_yaml(path: str | Path, sections: Sequence[str]) -> dict[str, Any]:
    """A YAML mapping; ``name`` is the file's where it does not say one.

    Raises:
        GltError: it cannot be read, or is not a mapping; ``sections`` says what of.
    """
    try:
        tree = _parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GltError(f"cannot read the config {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise GltError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise GltError(f"{path} must be a YAML mapping of sections: {', '.join(sections)}")
    tree.setdefault("name", re.sub(r"[^\w-]+", "-", Path(path).stem))
    return tree


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (ValueError, RecursionError) as error:  # a date in month 99, a number of 5,000 digits, 5,000 brackets
        raise yaml.YAMLError(str(error)) from None


def override(tree: dict[str, Any], text: str) -> None:
    """Set what ``text`` says (``"strategy.weight=10"``) in a config's mapping; the value is read as YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip().partition(".")[0]:
        raise GltError(f"override {text!r} is not of the form section.option=value, e.g. strategy.weight=10")
    try:
        parsed = _parse(value)
    except yaml.YAMLError:
        raise GltError(f"override {text!r}: {value!r} is not a YAML value") from None
    assign(tree, key.strip(), parsed, f"override {text!r}")


def assign(tree: dict[str, Any], key: str, value: Any, said: str) -> None:
    """Set a section (``key`` without a dot) or one option of a section (``strategy.weight``) of a config's mapping.

    An option of a piece that the mapping does not name (``strategy.pruner.granularity``) is one of the default piece.

    Raises:
        GltError: no such section, or it has no options; the message begins with ``said``.
    """
    section, _, option = key.partition(".")
    if section not in _fields():
        raise GltError(f"{said}: {unknown('section', section, _fields())}")
    if not option:
        tree[section] = value
        return
    if section not in SECTIONS and section != "train":
        raise GltError(f"{said}: {section!r} has no options, write {section}=value")
    default = {} if section == "train" else _default(section)
    spec = tree.get(section, default)
    spec = _options(said, section, spec)
    *path, last = option.split(".")
    node, family = spec, SECTIONS.get(section, "")
    for part in path:
        node[part] = _options(said, part, node.get(part, _usual(node, family, part)))
        node, family = node[part], next((f for f in FAMILIES if singular(f) == part), "")
    node[last] = value
    tree[section] = spec


def _usual(spec: Mapping[str, Any], family: str, option: str) -> Any:
    """The default of an option of the piece that ``spec`` says; None where it is not known."""
    if spec.get("name") not in (names(family) if family else ()):
        return None
    return next((o.default for o in options(get(family, spec["name"])) if o.name == option), None)


def _options(said: str, what: str, spec: Any) -> dict[str, Any]:
    if isinstance(spec, str):
        return {"name": spec}
    if spec is not None and not isinstance(spec, Mapping):
        raise GltError(f"{said}: {what} = {spec!r} has no options")
    return dict(spec or {})


def _fields() -> list[str]:
    return [field.name for field in dataclasses.fields(Config)]


def _default(section: str) -> Any:
    return next(f.default for f in dataclasses.fields(Config) if f.name == section)
