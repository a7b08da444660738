"""What an engineer wants to know before leaving: do the ports open, does the broker answer?"""

import asyncio

from configs import loader
from drivers.errors import Unavailable
from edge.config import Setup
from wire.mqtt import Unreachable, connect


async def outside_faults(setup: Setup) -> list[str]:
    """One line for each port that cannot be opened and for a broker that cannot be used."""
    found = await asyncio.gather(
        *(_port(setup, name) for name in setup.config.port), _broker(setup)
    )
    return [line for line in found if line]


async def _port(setup: Setup, name: str) -> str:
    config = setup.config.port[name]
    module = loader.plugin("drivers.ports", config.kind)
    async with module.open(name, config) as port:
        try:
            await port.open()
        except Unavailable as error:
            return f"[port.{name}] {error}"
    return ""


async def _broker(setup: Setup) -> str:
    # A name of its own: the broker would throw out a running gateway of the same name.
    identifier = f"shuichi-{setup.config.gateway.id}-check"
    try:
        async with connect(setup.config.uplink.broker, identifier):
            return ""
    except Unreachable as error:
        return f"[uplink.broker] {error}"
