"""How many examples a property gets, and whether they are the same each time.

`make test` draws the same ones in each run, so that what fails there comes from the change at hand.
`make search` draws new ones, many more of them.
"""

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

USUAL = 100
SEARCHED = 20 * USUAL

_of_our_modules = providers._get_local_constants


def _constants() -> Constants:
    # Hypothesis also draws constants that stand in our modules, as far as they are imported: a new
    # number in one of them would change the examples of every test.
    fixed = settings.default is not None and settings.default.derandomize
    return Constants() if fixed else _of_our_modules()


def register() -> None:
    """Make the profiles "same", which is loaded, and "search" known."""
    providers._get_local_constants = _constants
    # A slow machine is no fault of a property.
    patient = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("same", patient, max_examples=USUAL, derandomize=True)
    settings.register_profile("search", patient, max_examples=SEARCHED, derandomize=False)
    settings.load_profile("same")


def examples(count: int) -> settings:
    """What decorates a property that needs `count` examples; a search takes as many times more."""
    assert settings.default is not None
    return settings(max_examples=count * settings.default.max_examples // USUAL)
