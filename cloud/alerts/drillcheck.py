"""What the script of an exercise would do under a plan: what is wrong with it, who is called when
if nobody answers, and who would be disturbed. Pure: nobody is told.

Each hazard of a site is rehearsed by itself (`simulate`); what a digest would join stands apart.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from cloud.alerts import simulate
from cloud.alerts.drillscript import Script, Step, faults
from cloud.alerts.dutychanges import Duty
from cloud.alerts.hazard import Hazard
from cloud.alerts.plan import Plan
from cloud.alerts.simulate import Line
from configs.loader import Fault, suggest


class Setting(NamedTuple):
    """By which plan and duty, and when (UTC, ms), a script is carried out."""

    plan: Plan
    duty: Duty
    at_ms: int


class Entry(NamedTuple):
    """Something that happens: a step (then `line` is None), or what comes of it at its site.
    `after_ms` is counted from the beginning of the exercise."""

    after_ms: int
    site: str
    hazard: Hazard
    step: Step | None
    line: Line | None


class Disturbed(NamedTuple):
    """A contact who would be told something if nobody answers: the earliest after so many ms, by
    which channels, of which sites. A loudspeaker or a board is `public`."""

    contact: str
    name: str
    area: str
    tier: str
    after_ms: int
    channels: tuple[str, ...]
    sites: tuple[str, ...]
    public: bool
    off_duty: bool


def check(script: Script, setting: Setting) -> Iterator[Fault]:
    """All that is wrong with a script under this plan."""
    yield from faults(script)
    plan = setting.plan
    unknown = not (script.is_sound("step") and script.is_sound("lasts_min"))
    for number, step in enumerate(script.step):
        if not script.is_sound("step", number):
            continue
        here = f"step.{number}"
        site = plan.site.get(step.site)
        if site is None:
            unknown = True
            problem = f"{step.site!r} is no site of the plan{suggest(step.site, plan.site)}"
            yield Fault(f"{here}.site", problem)
        elif step.hazard not in site.hazards:
            unknown = True
            problem = f"{step.site} has no {step.hazard}: {', '.join(site.hazards)}"
            yield Fault(f"{here}.hazard", problem)
        elif step.level is not None and step.level not in plan.levels(step.hazard):
            unknown = True
            levels = ", ".join(one.name.lower() for one in plan.levels(step.hazard))
            yield Fault(f"{here}.level", f"the plan has no such level of {step.hazard}: {levels}")
    if not unknown and not any(faults(script)):
        yield from _of_people(script, setting)


def _of_people(script: Script, setting: Setting) -> Iterator[Fault]:
    """Steps by which nobody would be called, or somebody who is not on duty."""
    entries = timetable(script, setting)
    woken: set[str] = set()
    for site, hazard in script.places:
        number = next(
            n for n, one in enumerate(script.step) if (one.site, one.hazard) == (site, hazard)
        )
        own = [
            (one.after_ms, one.line)
            for one in entries
            if one.line is not None and (one.site, one.hazard) == (site, hazard)
        ]
        if not any(line.contact and line.answer_by_ms is not None for _, line in own):
            yield Fault(f"step.{number}", f"nobody would be called for {site}")
        for after_ms, line in own:
            if script.off_duty or not line.off_duty or line.area in woken:
                continue
            woken.add(line.area)
            name = setting.plan.area[line.area].name
            yield Fault(
                f"step.{number}",
                f"nobody of {name} is on duty at {after_ms / 60_000:g} min, and all of it would be "
                "called: choose another time, or say off_duty = true",
            )


def timetable(script: Script, setting: Setting) -> list[Entry]:
    """What happens if nobody answers, in order of time. The script has no faults of its own."""
    entries = [
        Entry(step.at_ms, step.site, step.hazard, step, None)
        for step in script.step
        if step.at_ms <= script.lasts_ms
    ]
    for site, hazard in script.places:
        own = [step for step in script.step if (step.site, step.hazard) == (site, hazard)]
        for steps in _episodes(own):
            entries += _rehearsed(script, setting, steps)
    return sorted(entries, key=lambda one: (one.after_ms, one.line is not None))


def _episodes(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """From a step that begins to the one that ends."""
    begins = [0, *(n + 1 for n, step in enumerate(steps) if step.end)]
    for begin, end in pairwise([*begins, len(steps)]):
        if own := [*steps[begin:end]]:
            yield own


def _rehearsed(script: Script, setting: Setting, steps: Sequence[Step]) -> Iterator[Entry]:
    first, *others = steps
    if first.level is None:
        return
    begin_ms = first.at_ms
    changes = [
        simulate.Change(step.at_ms - begin_ms, None if step.end else step.level, step.stage)
        for step in others
    ]
    if not (others and others[-1].end):
        changes.append(simulate.Change(script.lasts_ms - begin_ms, None))
    figures = {name: value for step in steps for name, value in step.figures.items()}
    lines = simulate.run(
        *(setting.plan, first.site, first.hazard, first.level),
        at_ms=setting.at_ms + begin_ms,
        stage=first.stage,
        lasts_ms=changes[-1].after_ms,
        values=figures,
        changes=changes,
        duty=setting.duty,
    )
    for line in lines:
        yield Entry(begin_ms + line.after_ms, first.site, first.hazard, None, line)


def disturbed(entries: Sequence[Entry], plan: Plan) -> list[Disturbed]:
    """Everybody who is told something, whoever is first told first."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.line is not None and entry.line.contact:
            found.setdefault(entry.line.contact, []).append(entry)
    people = []
    for name, some in found.items():
        contact = plan.contact[name]
        lines = [one.line for one in some if one.line is not None]
        people.append(
            Disturbed(
                name,
                contact.name,
                plan.area[contact.area].name,
                str(plan.area[contact.area].kind),
                some[0].after_ms,
                tuple(dict.fromkeys(line.channel for line in lines)),
                tuple(dict.fromkeys(one.site for one in some)),
                contact.public,
                any(line.off_duty for line in lines),
            )
        )
    return people
