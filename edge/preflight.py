"""What an engineer wants to know before leaving: do the ports open, does the broker do all that is
asked of it?"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from configs import loader
from drivers.errors import Unavailable
from edge import doors
from edge.acks import proof_of
from edge.config import Setup
from edge.status import Uplink
from wire import topics
from wire.mqtt import (
    TO_GATEWAY,
    Disconnected,
    PublishRefused,
    Refused,
    Session,
    Unreachable,
    connect,
)
from wire.topics import What

SMALLEST_MESSAGE: Final = 10_000
"""Bytes below which a broker's limit is worth a word: batches are cut to it, and cost more."""


@dataclass(slots=True)
class Outside:
    """A line for each port that cannot be opened and for what the broker denies, and one for each
    thing that works without it being as it should."""

    faults: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


async def outside(setup: Setup) -> Outside:
    """Try ports and broker. A gateway that runs here is asked how it finds its broker: many brokers
    know one session for each user, and would end its connection for ours."""
    ports = [_port(setup, name) for name in setup.config.port]
    try:
        running = (await doors.ask_status(setup.socket)).uplink
    except doors.Absent:
        running = None
    trial = _broker(setup) if running is None else _found_by(running)
    *lines, broker = await asyncio.gather(*ports, trial)
    assert isinstance(broker, Outside)
    faults = [line for line in lines if isinstance(line, str) and line]
    if fault := (await asyncio.to_thread(proof_of, setup)).fault:
        faults.append(f"[uplink] key_file {fault}")
    return Outside([*faults, *broker.faults], broker.doubts)


async def _port(setup: Setup, name: str) -> str:
    config = setup.config.port[name]
    module = loader.plugin("drivers.ports", config.kind)
    async with module.open(name, config) as port:
        try:
            await port.open()
        except Unavailable as error:
            return f"[port.{name}] {error}"
    return ""


async def _found_by(uplink: Uplink) -> Outside:
    faults = [*uplink.denied.values()]
    if not uplink.connected:
        faults.append(uplink.broker_said or f"{uplink.broker} has not answered yet")
    waits = f"{uplink.set_aside} batches are too large for the broker, or refused, and wait"
    return Outside(
        [f"[uplink.broker] {line}" for line in faults], [waits] if uplink.set_aside else []
    )


async def _broker(setup: Setup) -> Outside:
    gateway, settings = setup.config.gateway, setup.config.uplink.broker
    # A name of its own: the broker would throw out a running gateway of the same name.
    identifier = f"shuichi-{gateway.id}-check"
    found = Outside()
    try:
        async with connect(settings, identifier, room=TO_GATEWAY) as session:
            found.faults += await _denied(setup, session)
            if not session.retains:
                found.doubts.append(
                    "the broker keeps no retained messages: a cloud that starts later does not "
                    "know this gateway until it speaks"
                )
            if session.most_payload < SMALLEST_MESSAGE:
                found.doubts.append(
                    f"the broker takes no message of more than {session.most_payload} bytes: "
                    "batches become small, and cost more"
                )
        if settings.protocol == "3.1.1":
            found.doubts.append(
                "whether the broker takes each topic cannot be seen with MQTT 3.1.1: "
                "compare `shuichi account` once the gateway runs"
            )
    except (Unreachable, Disconnected) as error:
        found.faults.append(str(error))
    found.faults = [f"[uplink.broker] {line}" for line in found.faults]
    return found


async def _denied(setup: Setup, session: Session) -> list[str]:
    """Listen and publish as the gateway would, on all of its topics. What is published is empty and
    not retained: it changes nothing, and the cloud passes over it."""
    gateway = setup.config.gateway
    found = []
    for what in (What.ACK, What.COMMAND):
        try:
            await session.subscribe(topics.topic(gateway.shard, gateway.id, what))
        except Refused as error:
            found.append(str(error))
    places: list[tuple[What, str | None]] = [
        (what, None) for what in (What.DATA, What.EVENT, What.STATUS, What.REPLY)
    ]
    places += [(What.INTERLOCK, site) for site in setup.config.interlock]
    for what, site in places:
        topic = topics.topic(gateway.shard, gateway.id, what, site)
        try:
            await session.publish(topic, b"")
        except PublishRefused as error:
            found.append(f"the broker refuses what we publish to {topic}: {error}")
    return found
