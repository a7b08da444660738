"""What a plan lacks for warnings to everybody: where its sites are, and what people are advised to
do. Pure."""

from collections.abc import Iterator
from typing import Final

from cloud.alerts import caparea, publicwords, wording
from cloud.alerts.hazard import Hazard
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import PublicInstruction
from cloud.channels import Language
from configs.loader import Fault, suggest

LONGEST_NAME: Final = 49
"""Characters of an area's name: Google shows less than 50."""

_NAMED: Final = 5
"""Sites that are named in one line."""

_LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")


def findings(checked: Plan) -> Iterator[Fault]:
    """What is wrong in any case: places that no receiver could draw, instructions that would say
    nothing, or never."""
    for name, site in checked.site.items():
        for key, flaw in caparea.flaws(site.polygon, site.circle, site.geocode):
            yield Fault(f"site.{name}.{key}", flaw)
    for place, one in enumerate(checked.public_instruction):
        yield from _instruction(checked, place, one)


def unpublished(checked: Plan) -> Iterator[Fault]:
    """What receivers miss where warnings of the plan are published."""
    public = {
        name: site
        for name, site in checked.site.items()
        if any(hazard is not Hazard.EQUIPMENT for hazard in site.hazards)
    }
    without = [name for name, site in public.items() if site.place == caparea.Area()]
    if without:
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        yield Fault(
            "site",
            f"{', '.join(without[:_NAMED])}{more}: no polygon, circle or geocode, so Google shows "
            "nobody a warning; write such as circle = '29.551,106.512 0.3' (km)",
        )
    for name, site in public.items():
        for key, said in (("name", site.name), ("name_en", site.name_en)):
            if len(said) > LONGEST_NAME:
                yield Fault(
                    f"site.{name}.{key}",
                    f"has {len(said)} characters: receivers of warnings show {LONGEST_NAME}",
                )


def _instruction(checked: Plan, place: int, one: PublicInstruction) -> Iterator[Fault]:
    key = f"public_instruction.{place}"
    if one.hazard is Hazard.EQUIPMENT:
        yield Fault(key, "of equipment nothing is published: leave it out")
        return
    cells = {(level, stage) for level in one.levels for stage in one.stages}
    for earlier in checked.public_instruction[:place]:
        if earlier.hazard is one.hazard:
            cells -= {(level, stage) for level in earlier.levels for stage in earlier.stages}
    if not cells:
        yield Fault(key, "is never said: those before it fit first")
    users = [name for name, site in checked.site.items() if one.hazard in site.hazards]
    for language in _LANGUAGES:
        text = one.zh if language == "zh" else one.en
        for name in dict.fromkeys(wording.placeholders(text)):
            if wording.PLACEHOLDER.fullmatch("{" + name + "}") is None:
                yield Fault(
                    f"{key}.{language}", f"{name!r} is not a placeholder such as {{detour}}"
                )
            elif name not in publicwords.PLACEHOLDERS:
                yield from _valued(checked, users, f"{key}.{language}", name)


def _valued(checked: Plan, users: list[str], key: str, name: str) -> Iterator[Fault]:
    """The sites that an instruction is said of, and that have no value for it."""
    without = [site for site in users if name not in checked.site[site].values]
    if users and len(without) < len(users):
        for site in without:
            yield Fault(f"site.{site}.values.{name}", f"is missing: {key} has {{{name}}}")
        return
    known = {value for site in users for value in checked.site[site].values}
    guess = suggest(name, [*publicwords.PLACEHOLDERS, *known])
    yield Fault(key, f"{{{name}}} has no value for everybody{guess}")
