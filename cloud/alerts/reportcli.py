"""`shuichi alert report`: the review after the event."""

from pathlib import Path
from zoneinfo import ZoneInfo

import click

from cloud import config
from cloud.alerts import report, reportpage, review
from cloud.channels import Language
from cloud.cliparts import config_option, look
from configs import files
from configs.loader import UserError


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
    not arrive. `shuichi alert incidents` lists them."""
    setup = config.read_in_part(file)[0]
    facts = look(setup, lambda database, store: review.read(database, store, name))
    zone = facts.plan.zone if facts.plan else ZoneInfo("UTC")
    tongue: Language = language or (facts.plan.language if facts.plan else "en")
    document = report.build(facts, tongue, zone)
    is_page = shape == "html" or (shape is None and output is not None and output.suffix == ".html")
    text = reportpage.html(document) if is_page else reportpage.markdown(document)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with files.replacing(output) as written:
            written.write(text.encode())
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None
