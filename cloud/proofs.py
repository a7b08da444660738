"""The keys that the cloud shares with its gateways: what proves our acks and their replies.

A key that cannot be used keeps nobody from working: that gateway gets acks that prove nothing, and
if it has a key it sends its batches again and again. So it is told, and `shuichi cloud check` too.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cloud.config import Setup
from configs import files as private
from wire import keyfile
from wire.authentication import Keys
from wire.keyfile import KeyFileError

log: Final = logging.getLogger("shuichi.cloud")

_MOST_NAMED: Final = 5


class Proofs(NamedTuple):
    """The keys by gateway, and what is wrong with those that cannot be used."""

    keys: Mapping[str, Keys]
    faults: Mapping[str, str]


def read(setup: Setup) -> Proofs:
    """The keys of all gateways that the config names one for."""
    keys: dict[str, Keys] = {}
    faults: dict[str, str] = {}
    for gateway, file in files(setup).items():
        try:
            keys[gateway] = keyfile.read(file)
        except OSError as error:
            faults[gateway] = f"{file}: {error.strerror}"
        except KeyFileError as error:
            faults[gateway] = f"{file} {error}"
    return Proofs(keys, faults)


def read_and_tell(setup: Setup) -> Mapping[str, Keys]:
    """The keys; each that cannot be used is an error in the log."""
    found = read(setup)
    for gateway, fault in found.faults.items():
        log.error("[gateway.%s] key_file %s: our acks to it prove nothing", gateway, fault)
    return found.keys


def files(setup: Setup) -> dict[str, Path]:
    """Where the key of each gateway lies."""
    return {
        name: setup.folder / one.key_file
        for name, one in setup.config.gateway.items()
        if one.key_file is not None
    }


def doubts(setup: Setup) -> Iterator[tuple[str, str]]:
    """What is wrong with keys, or with having none, each with its key in the config."""
    for gateway, fault in read(setup).faults.items():
        yield f"gateway.{gateway}.key_file", f"{fault}: our acks to it prove nothing"
    known = files(setup)
    for gateway, file in known.items():
        if said := private.doubt(file):
            yield f"gateway.{gateway}.key_file", said
    if without := sorted(setup.config.gateway.keys() - known.keys()):
        more = f" and {len(without) - _MOST_NAMED} more" if len(without) > _MOST_NAMED else ""
        yield (
            "gateway",
            f"no key_file for {', '.join(without[:_MOST_NAMED])}{more}: our acks to them and their "
            "replies prove nothing; `shuichi cloud key GATEWAY` makes or takes a key",
        )
