"""`shuichi command`: a person's orders to an interlock, signed, and followed to the read-back."""

import asyncio
import os
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import click

from cloud import config
from cloud.cliparts import config_option
from configs.loader import UserError
from configs.numbers import Number
from wire import codec, signing, topics
from wire.aspect import Aspect
from wire.messages import Action, Command, Outcome, Reply
from wire.mqtt import Broker, Disconnected, PublishRefused, Session, Unreachable, connect
from wire.topics import What

_ASPECTS: Final = [aspect.value for aspect in Aspect]
_LONGEST_MIN: Final = {Action.RAISE: 10_080, Action.LOWER: 1440}
"""How long an order may last; a gateway refuses to lower for longer."""

_LAST: Final = {Outcome.REFUSED, Outcome.CONFIRMED}


@click.group()
def command() -> None:
    """Give orders to an interlock: raise, lower, clear, cancel."""


@command.command("key")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def new_key(file: Path) -> None:
    """Make a key pair: the private key into FILE, the public one on the screen.

    The public key belongs into `[command] keys` of each gateway.toml that shall obey it.
    """
    private, public = signing.generate()
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(private + "\n")
    except FileExistsError:
        raise UserError(f"{file}: exists already; a key is never overwritten") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from None
    click.echo(f'[command]\nkeys = {{ "{file.stem}" = "{public}" }}')


def _order(action: Action, explanation: str, *, aspect: bool, lasts: bool) -> None:
    """Add the subcommand of one action."""

    @config_option
    @click.option("--gateway", required=True, help="Who is to obey.")
    @click.option("--site", required=True, help="Which interlock.")
    @click.option("--key", required=True, type=click.Path(path_type=Path), help="Private key.")
    @click.option("--key-name", help="Its name on the gateway.  [default: the file's name]")
    @click.option("--person", default="", help="Who orders it: needed to lower and to clear.")
    @click.option("--reason", default="", help="Why, for the log.")
    @click.option(
        "--wait",
        "wait_s",
        type=Number(0, 3600),
        default=15.0,
        show_default=True,
        help="Seconds for answers.",
    )
    def give(file: Path, **given: Any) -> None:
        asyncio.run(_give(config.read(file), action, **given))

    if aspect:
        give = click.option("--aspect", required=True, type=click.Choice(_ASPECTS))(give)
    if lasts:
        give = click.option(
            "--minutes",
            type=Number(0, _LONGEST_MIN[action], min_open=True),
            help="How long it lasts.",
        )(give)
    give.__doc__ = explanation
    command.command(action.value)(give)


_order(Action.RAISE, "Show at least ASPECT, at once.", aspect=True, lasts=True)
_order(
    Action.LOWER,
    "Show at most ASPECT for some minutes, although the rule asks for more.",
    aspect=True,
    lasts=True,
)
_order(Action.CLEAR, "Let a latched red go, once the water allows it.", aspect=False, lasts=False)
_order(Action.CANCEL, "End an earlier raise or lower.", aspect=False, lasts=False)


async def _give(
    setup: config.Setup,
    action: Action,
    *,
    gateway: str,
    site: str,
    key: Path,
    key_name: str | None,
    person: str,
    reason: str,
    wait_s: float,
    aspect: str | None = None,
    minutes: float | None = None,
) -> None:
    now_ms = time.time_ns() // 1_000_000
    order = Command(
        id=secrets.token_hex(8),
        gateway=gateway,
        site=site,
        action=action,
        # The clock rises from command to command, over restarts and for all who share a key.
        sequence=now_ms,
        issued_ms=now_ms,
        aspect=None if aspect is None else Aspect(aspect),
        person=person,
        reason=reason,
        expires_ms=None if minutes is None else now_ms + round(minutes * 60_000),
    )
    # Whichever of ours the gateway listens to: the order is signed, and names it.
    shards = setup.config.ingest.shards
    payload = await signed(order, key, key_name)
    if not await carry_out(setup.config.broker, order, payload, shards, shards, wait_s):
        raise SystemExit(1)


async def signed(order: Command, key: Path, key_name: str | None) -> bytes:
    """The order as it travels. Raises UserError for a key that cannot be used."""
    try:
        private = (await asyncio.to_thread(key.read_text)).strip()
        return signing.sign(order, key_name or key.stem, private)
    except OSError as error:
        raise UserError(f"--key {key}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"--key {key}: is not a private key: {error}") from None


async def carry_out(
    broker: Broker,
    order: Command,
    payload: bytes,
    sent_in: Collection[str],
    heard_in: Collection[str],
    wait_s: float,
) -> bool:
    """Send the order in these shards, print what is answered in those, and say whether it was
    confirmed in time. Raises UserError where the broker does not take it."""
    gateway = order.gateway
    try:
        async with connect(broker, f"shuichi-command-{order.id}") as session:
            await session.subscribe(*(topics.topic(one, gateway, What.REPLY) for one in heard_in))
            for one in sent_in:
                await session.publish(topics.topic(one, gateway, What.COMMAND), payload)
            return await _follow(session, order, wait_s)
    except (Unreachable, Disconnected, PublishRefused) as error:
        raise UserError(str(error)) from None


async def _follow(session: Session, order: Command, wait_s: float) -> bool:
    """Print each answer until the last, and say whether that was a confirmation."""
    try:
        async with asyncio.timeout(wait_s):
            while True:
                for message in await session.take(10):
                    session.ack(message)
                    reply = codec.decode(message.payload, Reply)
                    if reply.command != order.id:
                        continue
                    shown = f" {reply.aspect.value}" if reply.aspect else ""
                    why = f": {reply.reason}" if reply.reason else ""
                    click.echo(f"{reply.outcome.value}{shown}{why}")
                    if reply.outcome in _LAST:
                        return reply.outcome is Outcome.CONFIRMED
    except TimeoutError:
        click.echo(
            f"no confirmation within {wait_s:g} s: is the gateway online, does it know the key?",
            err=True,
        )
        return False
