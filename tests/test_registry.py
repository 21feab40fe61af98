import dataclasses
from typing import Annotated, Literal

import pytest
from pydantic import Field

from glt import registry
from glt.errors import GltError, unknown
from glt.registry import FAMILIES, build, checked, get, names, options, register, spec_of


@pytest.fixture(autouse=True)
def registered_here_only(monkeypatch):
    for family in FAMILIES:
        names(family)  # everything is imported before the copy is made
    monkeypatch.setattr(registry, "_entries", {family: dict(found) for family, found in registry._entries.items()})


@pytest.fixture
def piece():
    @register("scorers", "testing")
    class Testing:
        """A scorer for tests."""

        rounds: Annotated[int, Field(ge=1, description="how often")] = 3
        scale: float = 0.5
        ends: tuple[int, ...] = (1, 2)
        deep: bool = False

        def __call__(self, data, model=None):
            return data.edge_index[0].float() * self.scale

    return Testing


def message(call, *args, **kwargs):
    with pytest.raises(GltError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_new_piece_works_at_once(piece):
    assert "testing" in names("scorers")
    assert get("scorers", "testing") is piece
    made = build("scorers", {"name": "testing", "rounds": 5})
    assert (made.rounds, made.scale, made.name) == (5, 0.5, "testing")
    assert made == piece(rounds=5) == piece(5)
    assert made != piece()


def test_a_piece_is_frozen_and_hashable(piece):
    made = piece()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.rounds = 4
    assert hash(made) == hash(piece())


def test_every_family_has_entries_in_order():
    for family in FAMILIES:
        assert names(family) == sorted(names(family))
        assert names(family)
        for name in names(family):
            assert get(family, name).name == name


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_name_lists_the_known_ones(family):
    said = message(build, family, "nothing-like-it")
    assert "'nothing-like-it'" in said
    assert ", ".join(names(family)) in said
    assert "did you mean" not in said
    assert "strategie " not in said


def test_a_near_name_is_suggested():
    said = message(build, "scorers", {"name": "tedy"})
    assert "unknown scorer 'tedy'; did you mean 'teddy'?" in said
    assert f"known: {', '.join(names('scorers'))}" in said


def test_an_unknown_family_lists_the_families():
    said = message(names, "scorer")
    assert "did you mean 'scorers'?" in said
    assert all(family in said for family in FAMILIES)


def test_an_unknown_option_is_suggested_and_listed(piece):
    said = message(build, "scorers", {"name": "testing", "round": 2})
    assert said == "scorer 'testing': unknown option 'round'; did you mean 'rounds'? known: deep, ends, rounds, scale"


@pytest.mark.parametrize(
    ("option", "value"),
    [("rounds", "many"), ("rounds", 0), ("rounds", 1.5), ("rounds", None), ("scale", "x"), ("deep", "perhaps")],
)
def test_a_wrong_value_is_quoted_with_its_option(piece, option, value):
    said = message(build, "scorers", {"name": "testing", option: value})
    assert said.startswith(f"scorer 'testing': option '{option}' = {value!r}: ")


def test_a_wrong_item_is_quoted_with_its_place(piece):
    assert "option 'ends.1' = 'x'" in message(piece, ends=[1, "x"])


def test_all_mistakes_are_told_at_once(piece):
    said = message(piece, rounds=-1, scale="x")
    assert "'rounds' = -1" in said
    assert "'scale' = 'x'" in said


def test_values_of_a_configuration_file_are_brought_to_their_type(piece):
    made = build("scorers", {"name": "testing", "scale": 1, "ends": [3, 4]})
    assert (made.scale, type(made.scale), made.ends) == (1.0, float, (3, 4))


def test_a_mistake_found_by_the_piece_itself_is_one_line():
    @checked("thing")
    class Thing:
        low: int = 0
        high: int = 1

        def __post_init__(self):
            if self.low > self.high:
                raise GltError(f"low = {self.low} is above high = {self.high}")

    assert message(Thing, low=3) == "thing: low = 3 is above high = 1"
    assert Thing(1, 2).high == 2


@pytest.mark.parametrize("spec", [None, 3, ["teddy"]])
def test_what_names_nothing_is_quoted(spec):
    assert repr(spec) in message(build, "scorers", spec)


def test_a_mapping_needs_a_name():
    said = message(build, "scorers", {"seed": 1})
    assert "'seed': 1" in said
    assert f"known: {', '.join(names('scorers'))}" in said


def test_a_piece_builds_to_itself(piece):
    made = piece(4)
    assert build("scorers", made) is made


def test_options_tell_names_types_defaults_and_help(piece):
    found = {option.name: option for option in options(piece)}
    assert list(found) == ["rounds", "scale", "ends", "deep"]
    assert (found["rounds"].type, found["rounds"].default, found["rounds"].help) == ("int", 3, "how often")
    assert (found["scale"].type, found["scale"].default, found["scale"].help) == ("float", 0.5, "")
    assert (found["ends"].type, found["ends"].default) == ("list of int", (1, 2))


def test_types_are_told_as_a_user_would_write_their_values():
    @checked("thing")
    class Thing:
        one: int | tuple[int, ...] = 1
        two: Literal["all", "some"] = "all"
        three: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(description="fractions")] = ()

    assert [option.type for option in options(Thing)] == ["int or list of int", "all or some", "list of float"]


@pytest.mark.parametrize(("family", "name"), [(f, n) for f in FAMILIES for n in names(f)])
def test_every_option_has_a_default_and_a_help_text(family, name):
    made = build(family, name)
    for option in options(get(family, name)):
        assert option.help
        shown = getattr(made, option.name)
        family = {"base": "scorers", "granularity": "granularities"}.get(option.name, f"{option.name}s")
        assert shown == option.default or shown == build(family, option.default)


@pytest.mark.parametrize(("family", "name"), [(f, n) for f in FAMILIES for n in names(f)])
def test_a_specification_leaves_defaults_out(family, name):
    made = build(family, name)
    assert spec_of(made) == {"name": name}
    assert build(family, spec_of(made)) == made


def test_a_specification_builds_the_same_piece(piece):
    made = piece(rounds=7, ends=(9,))
    assert spec_of(made) == {"name": "testing", "rounds": 7, "ends": (9,)}
    assert build("scorers", spec_of(made)) == made


def test_pieces_within_pieces_are_specified_too():
    made = build("strategies", {"name": "teddy", "scorer": {"name": "random", "seed": 4}, "weight": 2})
    assert spec_of(made) == {"name": "teddy", "scorer": {"name": "random", "seed": 4}, "weight": 2.0}
    assert build("strategies", spec_of(made)) == made
    random = build("strategies", {"name": "teddy", "scorer": "random"})
    assert spec_of(random) == {"name": "teddy", "scorer": {"name": "random"}}


def test_a_name_is_given_once(piece):
    class Other:
        """Another piece of the same name."""

    assert "'testing'" in message(register("scorers", "testing"), Other)
    assert get("scorers", "testing") is piece
    register("schedules", "testing")(Other)  # another family


def test_a_piece_may_be_registered_again(piece):
    class Again:
        """A notebook cell run twice."""

    again = [register("scorers", "again")(type("Again", (), dict(Again.__dict__))) for _ in range(2)]
    assert get("scorers", "again") is again[1]


def test_unknown_has_a_sentence_for_an_empty_list():
    assert unknown("metric", "x", []) == "unknown metric 'x'; known: none"
