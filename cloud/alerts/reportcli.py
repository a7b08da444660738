"""`shuichi alert report`: the review after the event."""

import time
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from cloud import config
from cloud.alerts import (
    drillreport,
    drills,
    drillscore,
    keptplans,
    report,
    reportpage,
    review,
)
from cloud.alerts.document import Document, Section
from cloud.channels import Language
from cloud.cliparts import config_option, look, put
from cloud.state import State
from cloud.store import Store


async def _document(
    database: State, store: Store, name: str, language: Language | None
) -> Document:
    now_ms = time.time_ns() // 1_000_000
    drill = await database.run(lambda connection: drills.of(connection, name))
    if drill is not None:
        version = drill.plan
        plan = await database.run(lambda c: keptplans.of_version(c, version))
        score = await database.run(partial(drillscore.of, drill=drill, now_ms=now_ms))
        return drillreport.build(score, language or plan.language, plan.zone)
    facts = await review.read(database, store, name, now_ms)
    zone = facts.plan.zone if facts.plan else ZoneInfo("UTC")
    tongue: Language = language or (facts.plan.language if facts.plan else "en")
    more: list[Section] = []
    for one in await database.run(partial(drills.with_alerts, alerts=facts.incident.alerts)):
        score = await database.run(partial(drillscore.of, drill=one, now_ms=now_ms))
        more += drillreport.sections(score, tongue, zone, facts.incident.site)
    return report.build(facts, tongue, zone, more)


@click.command("report")
@config_option
@click.argument("name", metavar="INCIDENT")
@click.option(
    "--format", "shape", type=click.Choice(["md", "html"]), help="[default: by FILE, else md]"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file, not the screen.",
)
@click.option("--language", type=click.Choice(["zh", "en"]), help="[default: that of the plan]")
def report_command(
    file: Path, name: str, shape: str | None, output: Path | None, language: Language | None
) -> None:
    """Write what happened in an incident: readings, alerts, calls, answers, delays, and what did
    not arrive; or, of an exercise by script, its score. `shuichi alert incidents` and `shuichi
    alert exercise list` list them."""
    setup = config.read_in_part(file)[0]
    document = look(setup, lambda database, store: _document(database, store, name, language))
    is_page = shape == "html" or (shape is None and output is not None and output.suffix == ".html")
    text = reportpage.html(document) if is_page else reportpage.markdown(document)
    put(text, output)
