"""`shuichi command`: a person's orders to an interlock, signed, and followed to the read-back."""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from cloud import config
from cloud.cliparts import config_option
from cloud.commanding import Moment, Result, Signer, Target, carry_out
from configs import files
from configs.loader import UserError
from configs.numbers import Number
from wire import signing
from wire.aspect import Aspect
from wire.messages import Action, Command

_ASPECTS: Final = [aspect.value for aspect in Aspect]
_LONGEST_MIN: Final = {Action.RAISE: 10_080, Action.LOWER: 1440}
"""How long an order may last; a gateway refuses to lower for longer."""


@click.group()
def command() -> None:
    """Give orders to an interlock: raise, lower, clear, cancel.

    Exit code 0: the gateway has proven that it was carried out and read back. 1: refused, or not
    confirmed in time. 3: the broker says that it was confirmed, and nothing proves it.
    """


@command.command("key")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def new_key(file: Path) -> None:
    """Make a key pair: the private key into FILE, the public one on the screen.

    The public key belongs into `[command] keys` of each gateway.toml that shall obey it.
    """
    private, public = signing.generate()
    try:
        files.make_secret(file, private + "\n")
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
    def draft(identifier: str, moment: Moment) -> Command:
        return Command(
            id=identifier,
            gateway=gateway,
            site=site,
            action=action,
            sequence=moment.sequence,
            issued_ms=moment.issued_ms,
            aspect=None if aspect is None else Aspect(aspect),
            person=person,
            reason=reason,
            expires_ms=None if minutes is None else moment.issued_ms + round(minutes * 60_000),
        )

    signer = await Signer.read(key, key_name)
    # Whichever of ours the gateway listens to: the order is signed, and names it.
    shards = setup.config.ingest.shards
    target = Target(gateway, shards, shards)
    if (result := await carry_out(setup, target, signer, draft, wait_s)) is not Result.CONFIRMED:
        raise SystemExit(int(result))
