"""`make test` draws the same examples each time, `make search` draws others and many more."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from tests import examples as in_examples
from tests.examples import SEARCHED, USUAL, examples

TESTS = Path(__file__).resolve().parents[1]


def drawn():
    numbers = []

    @settings(max_examples=50)
    @given(st.integers(), st.text())
    def draw(number, text):
        numbers.append((number, text))

    draw()
    return numbers


@pytest.fixture
def profile():
    before = settings.get_current_profile_name()
    yield settings.load_profile
    settings.load_profile(before)
    providers.CONSTANTS_CACHE.cache.clear()


@pytest.fixture
def imports_a_constant(tmp_path, monkeypatch):
    def imports(number):
        name = f"shuichi_constant_{number}"
        path = tmp_path / f"{name}.py"
        path.write_text(f"A = {number}\n")
        module = ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)
        return number

    return imports


def test_the_same_are_drawn_whatever_else_is_imported(profile, imports_a_constant):
    profile("same")
    first = drawn()
    imports_a_constant(7_654_321_012)
    assert drawn() == first
    assert len({*first}) > 10


def test_a_search_draws_others_and_our_constants(profile, monkeypatch):
    # To gather those of all our modules takes seconds.
    ours = Constants(integers={7_654_321_013})
    monkeypatch.setattr(in_examples, "_of_our_modules", lambda: ours)
    assert providers._get_local_constants().integers == set()
    profile("search")
    assert drawn() != drawn()
    assert providers._get_local_constants() is ours


def test_a_search_takes_as_many_times_more_of_each(profile):
    profile("same")
    assert examples(8).max_examples == 8
    profile("search")
    assert examples(USUAL).max_examples == SEARCHED
    assert examples(8).max_examples == 8 * (SEARCHED // USUAL)


def test_no_test_sets_a_number_that_a_search_cannot_raise():
    own = {TESTS / "examples.py", Path(__file__)}
    texts = {path: path.read_text() for path in sorted(TESTS.rglob("*.py")) if path not in own}
    assert [path.name for path, text in texts.items() if "max_examples=" in text] == []
    assert [path.name for path, text in texts.items() if "derandomize=" in text] == []
