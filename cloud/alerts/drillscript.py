"""The script of an exercise over several sites: what happens where and when, and what is expected.

A TOML file (`configs/drills/*.toml`, see docs/alerts.md). `faults` finds what is wrong between its
parts; whether a plan can carry it out is for `cloud.alerts.drillcheck` to say.
"""

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field, field_validator

from cloud.alerts import wording
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plantables import Colour, Name, Tier
from configs.loader import Fault, Model, Tables, suggest
from configs.text import is_visible_name
from wire.messages import Level

LONGEST_MIN: Final = 480
MOST_STEPS: Final = 200
MOST_EXPECTED: Final = 200

AFTER_THE_LAST_STEP_MIN: Final = 30
"""So long people have, where the script does not say when it ends."""

_Minutes = Annotated[float, Field(ge=0, le=LONGEST_MIN, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, le=LONGEST_MIN * 60, allow_inf_nan=False)]
_Within = Annotated[float, Field(gt=0, le=LONGEST_MIN, allow_inf_nan=False)]
_Value = Annotated[str, Field(max_length=80)] | Annotated[int | float, Field(allow_inf_nan=False)]


class Step(Model):
    """`[[step]]`: from a moment of the exercise on, a hazard has a level at a site, or `end`s.
    `values` are for placeholders of the instructions."""

    at_min: _Minutes | None = None
    at_s: _Seconds | None = None
    site: Name
    hazard: Hazard
    level: Colour | None = None
    stage: Stage = Stage.NOW
    end: bool = False
    values: Annotated[dict[str, _Value], Field(max_length=20)] = {}

    @property
    def at_ms(self) -> int:
        """After the beginning."""
        return round((self.at_min or 0) * 60_000 + (self.at_s or 0) * 1000)

    @property
    def figures(self) -> dict[str, str]:
        """What stands in the placeholders."""
        return {name: str(value) for name, value in self.values.items()}


class Expect(Model):
    """`[[expect]]`, of a site, of one of its hazards, or of all: whenever people are called anew
    somebody answers within `answer_within_min`; after the last answer a result is reported within
    `result_within_min`; no area of a tier above `highest_tier` is called. Each is worth
    `points`."""

    site: Name | None = None
    hazard: Hazard | None = None
    answer_within_min: _Within | None = None
    result_within_min: _Within | None = None
    highest_tier: Tier | None = None
    points: Annotated[int, Field(ge=1, le=1000)] = 10


class Script(Tables):
    """The whole. With `off_duty`, people may be called who are not on duty."""

    title: Annotated[str, Field(min_length=1, max_length=120)]
    lasts_min: Annotated[float, Field(gt=0, le=LONGEST_MIN, allow_inf_nan=False)] | None = None
    off_duty: bool = False
    step: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)]
    expect: Annotated[tuple[Expect, ...], Field(max_length=MOST_EXPECTED)] = ()

    @field_validator("title")
    @classmethod
    def _is_visible(cls, title: str) -> str:
        if not is_visible_name(title):
            raise ValueError("has no letters, or characters that nobody sees")
        return title

    @property
    def lasts_ms(self) -> int:
        """When it ends at the latest, after the beginning."""
        if self.lasts_min is not None:
            return round(self.lasts_min * 60_000)
        last_ms = max(step.at_ms for step in self.step)
        return min(last_ms + AFTER_THE_LAST_STEP_MIN * 60_000, LONGEST_MIN * 60_000)

    @property
    def places(self) -> tuple[tuple[str, Hazard], ...]:
        """The sites and hazards that it is about, in order."""
        return tuple(dict.fromkeys((step.site, step.hazard) for step in self.step))


def faults(script: Script) -> Iterator[Fault]:
    """What is wrong between the parts of a script."""
    stands: dict[tuple[str, Hazard], tuple[Level, Stage]] = {}
    latest_ms = 0
    for number, step in enumerate(script.step):
        if not script.is_sound("step", number):
            continue
        here = f"step.{number}"
        yield from _of_step(here, step)
        if step.at_ms < latest_ms:
            yield Fault(here, f"comes after a step of {latest_ms / 60_000:g} min: put it in order")
        latest_ms = max(latest_ms, step.at_ms)
        if step.at_ms >= script.lasts_ms:
            end_min = script.lasts_ms / 60_000
            yield Fault(here, f"is not before the end of the exercise, at {end_min:g} min")
        place = step.site, step.hazard
        if step.end:
            if stands.pop(place, None) is None:
                yield Fault(f"{here}.end", f"{step.hazard} of {step.site} has not begun")
        elif step.level is not None:
            if stands.get(place) == (step.level, step.stage):
                yield Fault(f"{here}.level", "changes nothing: it is so already")
            stands[place] = step.level, step.stage
    for number, expected in enumerate(script.expect):
        if not script.is_sound("expect", number):
            continue
        yield from _of_expectation(script, f"expect.{number}", expected)


def _of_step(here: str, step: Step) -> Iterator[Fault]:
    if (step.at_min is None) == (step.at_s is None):
        yield Fault(here, "needs either at_min or at_s")
    if (step.level is None) != step.end:
        yield Fault(here, "needs either level or end = true")
    if step.end and step.values:
        yield Fault(f"{here}.values", "mean nothing at an end")
    known = {**wording.VALUES[None], **wording.VALUES[step.hazard]}
    for name, value in step.figures.items():
        if name not in known:
            problem = f"is no placeholder of {step.hazard}{suggest(name, known)}"
            yield Fault(f"{here}.values.{name}", problem)
        elif not is_visible_name(value):
            problem = "has no letters or digits, or characters that nobody sees"
            yield Fault(f"{here}.values.{name}", problem)


def _of_expectation(script: Script, here: str, expected: Expect) -> Iterator[Fault]:
    wanted = expected.answer_within_min, expected.result_within_min, expected.highest_tier
    if wanted == (None, None, None):
        yield Fault(here, "expects nothing: answer_within_min, result_within_min or highest_tier")
    sites = {site for site, _ in script.places}
    if expected.site is not None and expected.site not in sites:
        yield Fault(f"{here}.site", f"{expected.site!r} has no step{suggest(expected.site, sites)}")
    elif expected.hazard is not None and not any(
        hazard is expected.hazard and expected.site in (None, site)
        for site, hazard in script.places
    ):
        yield Fault(f"{here}.hazard", f"no step is about {expected.hazard} there")
