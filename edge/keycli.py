"""`shuichi gateway key`: the key that this gateway shares with its cloud."""

from pathlib import Path

import click
import tomlkit

from configs import tomlfile
from configs.keys import check_options, key_options, text_of
from configs.loader import UserError
from edge import config
from edge.cli import config_option
from wire import keyfile
from wire.keyfile import KeyFileError

DEFAULT_FILE = "gateway.key"


@click.command("key")
@config_option
@key_options
def key_command(file: Path, source: str | None, rotate: bool, drop_old: bool) -> None:
    """Make the key that this gateway shares with its cloud, or take the one that the cloud made.

    By it the cloud proves that it has stored a batch, and the gateway that it carried out a
    command. It goes into gateway.key beside the config, unless [uplink] key_file names another
    file. A running gateway takes it with `shuichi edge reload`.
    """
    check_options(source, rotate=rotate, drop_old=drop_old)
    setup = config.read(file)
    named = setup.config.uplink.key_file
    place = setup.folder / (named or DEFAULT_FILE)
    given = text_of(source)
    try:
        lines = keyfile.renewed(place, given, rotate=rotate, drop_old=drop_old)
        keyfile.write(place, lines, file)
    except KeyFileError as error:
        where = f"--from {source}" if given is not None and not place.exists() else str(place)
        raise UserError(f"{where} {error}") from None
    except OSError as error:
        raise UserError(f"{place}: {error.strerror}") from None
    if named is None:
        with tomlfile.editing(file, config.read) as document:
            if "uplink" not in document:
                document["uplink"] = tomlkit.table()
            document["uplink"]["key_file"] = DEFAULT_FILE
    gateway = setup.config.gateway.id
    click.echo(f"{place}: {'the old key is out' if drop_old else 'holds the key now'}")
    if source is None and not drop_old:
        again = " --rotate" if rotate else ""
        click.echo(
            "Carry it to the cloud so that nobody else can read it (scp, a USB stick); there:\n"
            f"  shuichi cloud key {gateway}{again} --from {place.name}\n"
            + (
                "Until the cloud has it, the old key counts as well."
                if rotate
                else "Until the cloud has it, this gateway sends everything and deletes nothing."
            )
        )
    click.echo("A gateway that runs takes it with: shuichi edge reload")
