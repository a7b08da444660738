"""`shuichi cloud check`: what a config has, what is wrong with it, what the service makes of it.

Whoever reads it has a fault to find, or wants to know before a storm that there is none: each part
has a line, also where another part is broken.
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import click
import httpx

from cloud import config, outside, proofs, secretfiles
from cloud.alerts import keptplans, plan, plancheck, planlife, publiccheck
from cloud.alerts.plan import Plan
from cloud.allwell import recipients
from cloud.channels import SECRETS, ChannelConfig
from cloud.cliparts import config_option, look, when
from cloud.config import Setup
from cloud.errors import Unavailable
from cloud.http import ENVIRONMENT, origin, secret
from cloud.store import Server
from configs.loader import ConfigError, UserError
from configs.text import for_terminal

_NAMED: Final = 5
"""People who are named; the rest is counted."""


class _Checked(NamedTuple):
    """What could be read: `setup` without what is faulty; `faults` keep the exit code from 0."""

    setup: Setup
    response: Plan | None
    faults: tuple[str, ...]
    server: Server | None = None


@click.command()
@config_option
@click.option("--online", is_flag=True, help="Also ask store and broker, and demand the secrets.")
def check(file: Path, online: bool) -> None:
    """Find all faults of a config; show its plan, channels and secrets. Exit code 2: a fault."""
    found = _read(file)
    if online:
        seen = asyncio.run(outside.look(found.setup))
        # Of the plan and of the store's files everything is said already.
        has_files = not found.setup.config.store.file_faults(found.setup.folder)
        said = ("[alerts]",) if has_files else ("[alerts]", "[store]")
        more = [line for line in seen.faults if not (found.faults and line.startswith(said))]
        found = found._replace(faults=(*found.faults, *more), server=seen.server)
    for line in _report(file, found):
        click.echo(for_terminal(line))
    for key, doubt in _doubts(found):
        click.echo(for_terminal(f"unsure: {key}: {doubt}"))
    if found.faults:
        raise UserError("\n".join(found.faults))


def _read(file: Path) -> _Checked:
    """Raises ConfigError for a file of which nothing can be used."""
    faults: list[str] = []
    try:
        setup = config.read(file)
    except ConfigError as error:
        try:
            setup, _ = config.read_in_part(file)
        except ConfigError:
            raise error from None
        faults += str(error).splitlines()
    response = None
    if setup.config.alerts.plan is not None:
        try:
            response = plan.read(setup.folder / setup.config.alerts.plan)
        except ConfigError as error:
            faults += str(error).splitlines()
    of_store = setup.config.store.file_faults(setup.folder)
    faults += [f"{file}: store.{key}: {problem}" for key, problem in of_store]
    return _Checked(setup, response, tuple(faults))


def _report(file: Path, found: _Checked) -> Iterator[str]:
    setup = found.setup
    said = f"{_count(len(found.faults), 'fault')}, see below" if found.faults else "no faults"
    yield (
        f"{file}: {said}; store {setup.config.store.kind}, "
        f"{len(setup.config.rule)} rules, {len(setup.config.channel)} channels"
    )
    if found.faults:
        yield (
            "`cloud run --unattended` starts all the same, leaves out what is faulty, and calls "
            "people about it; `cloud run` does not start"
        )
    if found.server is not None:
        url = getattr(setup.config.store, "url", None)
        yield f"store: {found.server}" + ("" if url is None else f" at {origin(httpx.URL(url))}")
    yield from _of_plan(found)
    yield from _of_channels(found)
    yield from _of_heartbeat(found)


def _of_plan(found: _Checked) -> Iterator[str]:
    setup, response = found.setup, found.response
    named = setup.config.alerts.plan
    if named is None:
        yield "plan: none ([alerts] plan): everybody who has a channel is called at once"
        return
    if response is None:
        yield f"plan: {named} cannot be used. {_instead(setup)}"
        return
    yield (
        f"plan: {named}, {response.title!r}, version {response.version}: {len(response.site)} "
        f"sites, {len(response.area)} areas, {len(response.contact)} contacts"
    )
    today = datetime.now(response.zone).date()
    lacks = plancheck.findings(response, setup.config.channel, "the config", today)
    if lacks:
        yield f"  {_count(len(lacks), 'finding')}: see `shuichi plan check {setup.folder / named}`"


def _instead(setup: Setup) -> str:
    """By what plan the service works meanwhile."""
    place = setup.database
    if isinstance(place, Path) and not place.exists():
        return "There is no earlier one: everybody who has a channel is called at once"
    try:
        last = look(setup, lambda database, _: database.run(keptplans.last_good))
        used = look(setup, lambda database, _: database.run(planlife.versions))
    except UserError as error:
        return f"Whether an earlier one is kept cannot be seen: {error}"
    if last is None:
        return "There is no earlier one: everybody who has a channel is called at once"
    since = next((one.used_ms for one in used if one.version == last.version), None)
    of = "" if since is None else f", in force since {when(since, seconds=False)}"
    return f"The last good one serves meanwhile: version {last.version}{of}"


def _of_channels(found: _Checked) -> Iterator[str]:
    setup, response = found.setup, found.response
    usable = set()
    for name, one in setup.config.channel.items():
        secrets = [*_secrets(one, setup.folder)]
        missing = [said for said, is_there in secrets if not is_there]
        if not missing:
            usable.add(name)
        parts = [
            f"channel {name}: {one.kind}",
            ", ".join(said for said, _ in secrets) or "no secret",
            *([_users(response, name)] if response is not None else []),
        ]
        yield "; ".join(parts)
        if missing:
            yield "  until it is there, what goes by this channel waits, and an alert says so"
    if response is None:
        return
    for name in response.channel:
        if name not in setup.config.channel:
            yield f"channel {name}: MISSING: the plan uses it, the config has none that is sound"
    mute = [
        contact.name for contact in response.contact.values() if not usable & {*contact.channels}
    ]
    if mute:
        more = f" and {len(mute) - _NAMED} more" if len(mute) > _NAMED else ""
        yield f"nobody can be told by any channel of: {', '.join(mute[:_NAMED])}{more}"


def _users(response: Plan, channel: str) -> str:
    number = sum(channel in contact.channels for contact in response.contact.values())
    return f"for {_count(number, 'contact')} of the plan" if number else "the plan does not use it"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _secrets(one: ChannelConfig, folder: Path) -> Iterator[tuple[str, bool]]:
    """What is to be said of each secret, and whether it is there. Never the secret itself."""
    broker = getattr(one, "broker", None)
    places = [getattr(one, key, None) for key in SECRETS]
    for place in (*places, getattr(broker, "password_file", None)):
        if not isinstance(place, str):
            continue
        try:
            secret(folder, place)
        except Unavailable as error:
            why = str(error).rpartition(": ")[2]
            where = "" if place.startswith(ENVIRONMENT) else f" ({(folder / place).resolve()})"
            yield f"secret {place} is MISSING{where}: {why}", False
        else:
            yield f"secret {place} is there", True


def _of_heartbeat(found: _Checked) -> Iterator[str]:
    beat = found.setup.config.heartbeat
    if beat is None:
        yield "heartbeat: none: if this service dies, nobody is told (see [heartbeat])"
        return
    if beat.url is not None:
        yield f"heartbeat: to a monitor, every {beat.every_s:g} s"
    if beat.daily is not None:
        at = ", ".join(beat.daily.at)
        faults: list[str] = []
        people = [*beat.daily.contacts]
        if found.response is not None:
            people = [who or to for who, to, _ in recipients(found.response, beat.daily, faults)]
        to = ", ".join(filter(None, people)) or "the channel's own address"
        yield f"heartbeat: the all-well message at {at} by {beat.daily.channel} to {to}"
        yield from (f"  {fault}" for fault in faults)


def _doubts(found: _Checked) -> Iterator[tuple[str, str]]:
    setup = found.setup
    if found.response is not None and setup.config.cap is not None:
        yield from publiccheck.findings(found.response)
        yield from publiccheck.unpublished(found.response)
    yield from setup.doubts()
    yield from proofs.doubts(setup)
    yield from secretfiles.doubts(setup)
