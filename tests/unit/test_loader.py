"""TOML to model: all faults at once, each one line that says where and what would be right."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from configs import allowed, loader
from configs.loader import ConfigError, Fault, Kind, Model
from drivers.ports import PortConfig
from tests.examples import examples


class Part(Model):
    size_cm: Annotated[int, Field(gt=0)]
    colour: Literal["red", "green"] = "red"

    @model_validator(mode="after")
    def _fits(self) -> "Part":
        if self.colour == "green" and self.size_cm > 10:
            raise ValueError(f"a green part of {self.size_cm} cm does not fit: at most 10")
        return self


class Head(Model):
    id: str
    sizes: tuple[int, ...] = ()


class Whole(Model):
    head: Head
    part: dict[str, Part] = {}
    row: tuple[Part, ...] = ()
    port: dict[str, Annotated[PortConfig, Kind("drivers.ports")]] = {}

    @model_validator(mode="after")
    def _not_too_many(self) -> "Whole":
        if len(self.part) > 5:
            raise ValueError("more than 5 parts")
        return self


HEAD: dict[str, Any] = {"head": {"id": "x"}}


def largest(whole: Whole) -> list[Fault]:
    """A check between parts."""
    return [
        Fault(f"part.{name}.size_cm", f"{part.size_cm} is larger than the house")
        for name, part in whole.part.items()
        if part.size_cm > 100
    ]


def faults(tables: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loader.parse(tables, Whole, "x.toml", largest)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.faults)
    assert all(line.startswith("x.toml: ") for line in lines)
    return [line.removeprefix("x.toml: ") for line in lines]


def test_a_right_file_is_a_frozen_model(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text(
        '[head]\nid = "x"\nsizes = [1, 2]\n[part.a]\nsize_cm = 3\ncolour = "green"\n'
        '[port.p]\nkind = "tcp"\nhost = "127.0.0.1"\n'
    )
    whole = loader.load(file, Whole, largest)
    assert whole.head.sizes == (1, 2)
    assert whole.part["a"].colour == "green"
    assert whole.port["p"].kind == "tcp"
    with pytest.raises(ValueError, match="frozen"):
        whole.head.id = "y"  # type: ignore[misc]  # that it cannot be set is the point


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "there is no such file"),
        (b"[head\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1,"),
        (b"a = 1\na = 2\n", "is not TOML: Cannot overwrite a value"),
        (b"a = '\xff'\n", "is not text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_fault(tmp_path, text, line):
    file = tmp_path / "x.toml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        loader.load(file, Whole)
    assert str(caught.value).startswith(f"{file}: {line}")
    assert len(caught.value.faults) == 1


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        loader.load(tmp_path, Whole)


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({}, "head: is missing"),
        ({"head": {}}, "head.id: is missing"),
        ({"head": {"id": 3}}, "head.id: 3: input should be a valid string"),
        ({"head": {"id": "x", "sizes": ["1"]}}, "head.sizes.0: '1': input should be a valid"),
        (HEAD | {"part": 3}, "part: 3: input should be a"),
        (HEAD | {"part": {"a": {"size_cm": 0}}}, "part.a.size_cm: 0: input should be greater"),
        (
            HEAD | {"part": {"a": {"size_cm": 1, "color": "red"}}},
            "part.a.color: is not a key here (did you mean 'colour'?)",
        ),
        (HEAD | {"rows": []}, "rows: is not a key here (did you mean 'row'?)"),
        (HEAD | {"zzz": {}}, "zzz: is not a key here"),
        (
            HEAD | {"part": {"a": {"size_cm": 1, "colour": "blue"}}},
            "part.a.colour: 'blue': input should be 'red' or 'green'",
        ),
        (
            HEAD | {"part": {"a": {"size_cm": 11, "colour": "green"}}},
            "part.a: a green part of 11 cm does not fit: at most 10",
        ),
        (HEAD | {"part": {"a": {"size_cm": 101}}}, "part.a.size_cm: 101 is larger than the house"),
        (HEAD | {"port": {"p": {}}}, "port.p.kind: is missing"),
        (HEAD | {"port": {"p": {"kind": "dove"}}}, "port.p.kind: 'dove' is not one of 'serial', "),
        (HEAD | {"port": {"p": {"kind": "tcp"}}}, "port.p.host: is missing"),
        (
            HEAD | {"port": {"p": {"kind": "tcp", "host": "h", "prot": 1}}},
            "port.p.prot: is not a key here (did you mean 'port'?)",
        ),
        (
            HEAD | {"port": {"tcp": {"kind": "tcp", "host": "h", "port": 0}}},
            "port.tcp.port: 0: input should be greater",
        ),
        (
            HEAD | {"part": {str(i): {"size_cm": 1} for i in range(6)}},
            "more than 5 parts",
        ),
    ],
)
def test_each_fault_is_one_line(tables, line):
    (found,) = faults(tables)
    assert found.startswith(line)
    assert ("did you mean" in found) == ("did you mean" in line)


def test_one_mistake_does_not_hide_the_next():
    """Faults of form, of a part as a whole, and between parts, wherever they stand."""
    found = faults(
        {
            "head": {"id": 3},
            "part": {
                "a": {"size_cm": "1"},
                "b": {"size": 1},
                "c": {"size_cm": 12, "colour": "green"},
                "d": {"size_cm": 400},
                "e": {"size_cm": 500, "weight": 1},
            },
            "port": {"p": {"kind": "dove"}, "q": {"kind": "serial"}},
        }
    )
    assert sorted(line.split(": ")[0] for line in found) == [
        "head.id",
        "part.a.size_cm",
        "part.b.size",
        "part.b.size_cm",
        "part.c",
        "part.d.size_cm",
        "part.e.size_cm",
        "part.e.weight",
        "port.p.kind",
        "port.q.device",
    ]


def test_what_was_cut_out_is_not_told_as_missing():
    assert len(faults({"head": {"id": 3}})) == 1
    assert len(faults(HEAD | {"part": {"a": {"size_cm": "1", "colour": "blue"}}})) == 2


def test_items_of_a_list_keep_their_numbers():
    found = faults(
        HEAD
        | {
            "row": [
                {"size_cm": "1"},
                {"size_cm": 1},
                {"size_cm": 12, "colour": "green"},
                {"size_cm": 13, "colour": "green", "weight": 1},
                {"colour": "red"},
            ]
        }
    )
    assert sorted(found) == [
        "row.0.size_cm: '1': input should be a valid integer",
        "row.2: a green part of 12 cm does not fit: at most 10",
        "row.3.weight: is not a key here",
        "row.3: a green part of 13 cm does not fit: at most 10",
        "row.4.size_cm: is missing",
    ]


def test_two_faults_in_one_table_do_not_take_its_neighbours_out():
    found = faults(HEAD | {"part": {"a": {"size": 1, "weight": 1}, "b": {"size_cm": 400}}})
    assert "part.b.size_cm: 400 is larger than the house" in found
    assert len(found) == 4


def test_a_fault_of_the_whole_ends_the_search():
    """There is nothing left that could be cut away; what was found before is told with it."""
    parts: dict[str, Any] = {str(i): {"size_cm": 1} for i in range(7)}
    parts["0"]["colour"] = "blue"
    found = faults(HEAD | {"part": parts})
    assert [line.split(": ")[0] for line in found] == ["part.0.colour", "more than 5 parts"]


KEYS = st.sampled_from(["head", "part", "row", "port", "id", "sizes", "size_cm", "colour", "kind"])
VALUES = st.one_of(st.integers(-2, 200), st.sampled_from(["red", "green", "tcp", "serial", "x"]))
JUNK = st.recursive(
    VALUES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner))
)


@examples(60)
@given(st.dictionaries(KEYS, JUNK))
def test_any_tables_end_as_a_model_or_as_faults_that_are_there(tables):
    try:
        loader.parse(tables, Whole, "x.toml", largest)
    except ConfigError as error:
        found = error.faults
    else:
        return
    assert found
    assert len(set(found)) == len(found)
    for fault in found:
        assert "\n" not in fault.problem
        assert fault.key.split(".")[0] in {*tables, "head", ""}


def test_a_kind_finds_its_module_by_its_file_name():
    assert {"serial", "tcp"} <= loader.plugins("drivers.ports").keys()
    assert loader.plugin("drivers.ports", "tcp").Config is loader.plugins("drivers.ports")["tcp"]


def test_suggestions_are_made_for_what_is_close():
    assert loader.suggest("intervall", ["interval_s", "port"]) == " (did you mean 'interval_s'?)"
    assert loader.suggest("zebra", ["interval_s", "port"]) == ""
    assert loader.suggest("x", []) == ""


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nan", "nan is not a number that can be used"),
        ("-nan", "nan is not a number that can be used"),
        ("inf", "inf is not a number that can be used"),
        ("-inf", "-inf is not a number that can be used"),
        ("1e999", "inf is not a number that can be used"),
        (f"{2**63}", "a number of 64 bits is too large"),
        (f"-{10**40}", "a number of 133 bits is too large"),
        ("0x" + "f" * 5000, "a number of 20000 bits is too large"),
        ("2024-01-01", "2024-01-01 is a date or a time: put it in quotes"),
        ("2024-01-01T00:00:00Z", "is a date or a time"),
        ("12:00:00", "12:00:00 is a date or a time"),
        ('"a\\u0000b"', "has a NUL character in it"),
    ],
)
def test_what_toml_can_write_and_nobody_means(tmp_path, value, problem):
    """Where the model allows nothing at all, a number that is none must not become that."""
    file = tmp_path / "x.toml"
    for line, key in (("maybe = {}", "maybe"), ("list = [1.5, {}]", "list.1"), ("x = {}", "x")):
        file.write_text(f'[head]\nid = "a"\n[loose]\n{line.format(value)}\n')
        with pytest.raises(ConfigError) as caught:
            loader.load(file, Loose)
        assert [fault.key for fault in caught.value.faults if problem in fault.problem] == [
            f"loose.{key}"
        ]


class LoosePart(Model):
    maybe: float | str | None = None
    list: tuple[float | str, ...] = ()
    x: int | str = 0


class Loose(Model):
    head: Head
    loose: LoosePart


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000])
def test_what_python_cannot_read_is_one_fault_too(tmp_path, text):
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        loader.load(file, Whole)
    assert len(str(caught.value).splitlines()) == 1


def test_a_long_value_is_not_repeated_in_full():
    (found,) = faults(HEAD | {"part": {"a": {"size_cm": 1, "colour": "x" * 100_000}}})
    assert len(found) < 300


@pytest.mark.parametrize(
    ("tables", "wrong"),
    [
        # Each key is right at another place.
        ({"port": {"p": {"kind": "serial", "device": "/x", "framing": "rtu"}}}, "port.p.framing"),
        ({"port": {"p": {"kind": "tcp", "host": "h", "parity": "odd"}}}, "port.p.parity"),
        ({"head": {"id": "x", "size_cm": 3}}, "head.size_cm"),
        ({"id": "x"}, "id"),
        ({"row": [{"size_cm": 1, "head": 1}]}, "row.0.head"),
    ],
)
def test_a_suggestion_is_another_word_and_can_stand_there(tables, wrong):
    (found,) = faults(HEAD | tables)
    assert found.startswith(f"{wrong}: is not a key here")
    if "did you mean" in found:
        *_, meant = found.split("'")[:-1]
        assert meant != wrong.rpartition(".")[2]
        assert meant in allowed.keys(Whole, HEAD | tables, wrong.split(".")[:-1]), found


def test_the_keys_of_a_place_are_those_of_its_model():
    tables = {"port": {"p": {"kind": "tcp"}, "s": {"kind": "serial"}, "x": {"kind": "dove"}}}
    at = lambda *place: allowed.keys(Whole, tables, place)  # noqa: E731
    assert at() >= {"head", "part", "row", "port"}
    assert "framing" in at("port", "p")
    assert "parity" not in at("port", "p")
    assert "parity" in at("port", "s")
    assert at("port", "x") == at("port") == at("nowhere", 3) == frozenset()
    assert at("row", 0) == at("part", "a") == {"size_cm", "colour"}
