"""`shuichi cloud key`: the key that the cloud shares with one gateway."""

from pathlib import Path

import click
import tomlkit

from cloud import config
from cloud.cliparts import config_option
from configs import tomlfile
from configs.keys import check_options, key_options, text_of
from configs.loader import UserError
from wire import keyfile
from wire.keyfile import KeyFileError
from wire.topics import is_name

FOLDER = "keys"


@click.command("key")
@config_option
@click.argument("gateway")
@key_options
def key_command(file: Path, gateway: str, source: str | None, rotate: bool, drop_old: bool) -> None:
    """Make the key that the cloud shares with GATEWAY, or take the one that the gateway made.

    By it the cloud proves that it has stored a batch, and the gateway that it carried out a
    command. It goes into keys/GATEWAY.key beside the config, unless [gateway.GATEWAY] key_file
    names another file. A running cloud must be restarted to take it.
    """
    check_options(source, rotate=rotate, drop_old=drop_old)
    if not is_name(gateway):
        raise UserError(f"{gateway!r} cannot be the name of a gateway: a-z, 0-9 and -, at most 63")
    setup = config.read(file)
    known = setup.config.gateway.get(gateway)
    named = None if known is None else known.key_file
    name = named or f"{FOLDER}/{gateway}.key"
    place = setup.folder / name
    given = text_of(source)
    try:
        lines = keyfile.renewed(place, given, rotate=rotate, drop_old=drop_old)
        keyfile.make_folder(place.parent, file)
        keyfile.write(place, lines, file)
    except KeyFileError as error:
        where = f"--from {source}" if given is not None and not place.exists() else str(place)
        raise UserError(f"{where} {error}") from None
    except OSError as error:
        raise UserError(f"{place}: {error.strerror}") from None
    if named is None:
        with tomlfile.editing(file, config.read) as document:
            if "gateway" not in document:
                document["gateway"] = tomlkit.table(is_super_table=True)
            tables = document["gateway"]
            if gateway not in tables:
                tables[gateway] = tomlkit.table()
            tables[gateway]["key_file"] = name
    click.echo(f"{place}: {'the old key is out' if drop_old else 'holds the key now'}")
    if source is None and not drop_old:
        again = " --rotate" if rotate else ""
        click.echo(
            f"Carry it to {gateway} so that nobody else can read it (scp, a USB stick); there:\n"
            f"  shuichi gateway key{again} --from {place.name}"
        )
    first = ", once the gateway has it" if source is None and rotate else ""
    click.echo(f"A cloud that runs takes it when it is restarted{first}.")
