"""Registered pieces: one family a folder, one piece a file, the class is its own configuration.

``@register("scorers", "teddy")`` turns a class with annotated fields into a frozen, validated dataclass and
files it under its name. Nothing else needs to be edited: importing a family imports every file of its folder.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pydantic
import pydantic.dataclasses
from typing_extensions import dataclass_transform

from glt.errors import GltError, unknown

FAMILIES = (
    *("datasets", "scorers", "pruners", "granularities", "schedules"),
    *("backbones", "batches", "strategies", "controls", "kernels"),
)

T = TypeVar("T")
_entries: dict[str, dict[str, type]] = {family: {} for family in FAMILIES}


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a registered piece, as ``glt list`` shows it."""

    name: str
    type: str
    default: Any
    help: str


@dataclass_transform(frozen_default=True)
def register(family: str, name: str) -> Callable[[type[T]], type[T]]:
    """Register a class under ``name`` and make it a frozen dataclass whose fields are its options.

    Fields are validated when an instance is made (types are coerced as pydantic does; constraints and help
    texts come from ``Annotated[int, Field(ge=1, description="...")]``). Errors are one-line
    :class:`~glt.errors.GltError`.

    Args:
        family: one of :data:`FAMILIES`.
        name: the name users write; unique in its family.
    """

    def wrap(cls: type[T]) -> type[T]:
        if family not in _entries:
            raise GltError(unknown("family", family, FAMILIES))
        entries = _entries[family]
        if name in entries and _origin(entries[name]) != _origin(cls):
            raise GltError(f"{family} has two entries named {name!r}: {entries[name]} and {cls}; rename one")
        entries[name] = checked(f"{singular(family)} {name!r}")(cls)
        entries[name].name = name  # type: ignore[attr-defined]
        return entries[name]

    return wrap


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


@dataclass_transform(frozen_default=True)
def checked(label: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen, validated dataclass whose construction errors read ``<label>: ...`` on one line."""

    def wrap(cls: type[T]) -> type[T]:
        settings = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
        made: Any = pydantic.dataclasses.dataclass(frozen=True, config=settings)(cls)
        construct = made.__init__

        @functools.wraps(construct)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            fields = [f.name for f in dataclasses.fields(made)]
            if bad := [k for k in kwargs if k not in fields]:
                raise GltError(f"{label}: {unknown('option', bad[0], fields)}")
            try:
                construct(self, *args, **kwargs)
            except pydantic.ValidationError as error:
                raise GltError(f"{label}: {one_line(error)}") from None
            except GltError as error:  # of __post_init__
                raise type(error)(f"{label}: {error}") from None

        made.__init__ = init
        return made

    return wrap


def singular(family: str) -> str:
    """``"strategies"`` -> ``"strategy"``, for messages."""
    if family == "batches":
        return family
    return family[:-3] + "y" if family.endswith("ies") else family.removesuffix("s")


def one_line(error: pydantic.ValidationError) -> str:
    """A pydantic error as one sentence that quotes the option and its value."""
    said: dict[str, list[str]] = {}
    for item in error.errors():
        message = item["msg"].removeprefix("Value error, ")
        where = ".".join(str(part) for part in item["loc"] if not _names_a_type(part))
        if item["type"] == "missing":
            said.setdefault(f"option {where!r} is missing", [])
            continue
        said.setdefault(f"option {where!r} = {item['input']!r}: " if where else "", []).append(message)
    return "; ".join(about + _or(messages) for about, messages in said.items())


def _names_a_type(part: str | int) -> bool:
    """Whether a part of an error's place is pydantic's name of a type that the value could have had, not an option."""
    return isinstance(part, str) and (part in ("int", "float", "str", "bool") or not part.isidentifier())


def _or(messages: list[str]) -> str:
    """What each type that is allowed says, as one sentence."""
    first, *others = dict.fromkeys(messages)
    return ", or ".join([first, *(message.removeprefix("Input should be ") for message in others)])


@functools.cache
def _import_family(family: str) -> None:
    package = importlib.import_module(f"glt.{family}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"glt.{family}.{module.name}")


def names(family: str) -> list[str]:
    """Sorted names of everything registered in ``family``."""
    if family not in FAMILIES:
        raise GltError(unknown("family", family, FAMILIES))
    _import_family(family)
    return sorted(_entries[family])


def get(family: str, name: str) -> type:
    """The class registered as ``name``. Raises GltError, listing the alternatives, for an unknown name."""
    if name not in names(family):
        raise GltError(unknown(singular(family), name, names(family)))
    return _entries[family][name]


def build(family: str, spec: Any) -> Any:
    """An instance from a name, a mapping ``{"name": ..., **options}``, or the piece itself (returned as it is)."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        others = [cls for other in FAMILIES if other != family for cls in _entries[other].values()]
        if (dataclasses.is_dataclass(spec) or callable(spec)) and not isinstance(spec, tuple(others)):
            return spec
        raise GltError(f"{family}: expected a name or a mapping with a name, got {spec!r}")
    if "name" not in spec:
        raise GltError(f"{family}: {dict(spec)!r} has no 'name'; known: {', '.join(names(family))}")
    return get(family, spec["name"])(**{str(k): v for k, v in spec.items() if k != "name"})


def spec_of(piece: Any) -> dict[str, Any]:
    """The mapping that builds ``piece`` again, options at their defaults left out."""
    spec = {"name": piece.name} if hasattr(piece, "name") else {}
    for field in dataclasses.fields(piece):
        value, default = getattr(piece, field.name), _default(field)
        if dataclasses.is_dataclass(value):
            value = spec_of(value)
            default = {"name": default} if isinstance(default, str) else default
        if value != default:
            spec[field.name] = value
    return spec


def options(cls: type) -> Iterator[Option]:
    """Name, type, default and help text of every option of a registered class."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        hints |= inspect.get_annotations(base, eval_str=True)
    described = pydantic.TypeAdapter(cls).json_schema().get("properties", {})
    for field in dataclasses.fields(cls):
        about = described.get(field.name, {}).get("description", "")
        yield Option(field.name, _type_name(hints.get(field.name, Any)), _default(field), about)


def _type_name(hint: Any) -> str:
    """A type as a user would write its values: no Annotated, no module names."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type_name(arguments[0])
    if hint is type(None):
        return "none"
    if dataclasses.is_dataclass(hint):
        return "mapping"
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(_type_name, arguments))
    if origin in (tuple, list):
        return f"list of {_type_name(arguments[0])}"
    return "name or mapping" if hint is Any else getattr(hint, "__name__", str(hint))


def _default(field: dataclasses.Field[Any]) -> Any:
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return getattr(default, "default", default) if isinstance(default, pydantic.fields.FieldInfo) else default
