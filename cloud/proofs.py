"""The keys that the cloud shares with its gateways: what proves our acks and their replies.

A key that cannot be used keeps nobody from working: that gateway gets acks that prove nothing, and
if it has a key it sends its batches again and again. So it is told, and `shuichi cloud check` too.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cloud.config import Setup
from configs import files as private
from wire import keyfile
from wire.authentication import Keys
from wire.keyfile import KeyFileError
from wire.secretfile import InUse

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


class Ring:
    """The keys in use. A gateway that says that our acks prove nothing to it may have another one:
    then its file is read again."""

    def __init__(self, files: Mapping[str, Path] | None = None) -> None:
        self._files = files or {}
        self._held: dict[str, InUse[Keys]] = {}
        for gateway in self._files:
            if fault := self._begin(gateway):
                log.error("%s: our acks to it prove nothing", fault)

    def get(self, gateway: str) -> Keys | None:
        """The keys that we share with `gateway`."""
        held = self._held.get(gateway)
        return None if held is None else held.value

    def has_file(self, gateway: str) -> bool:
        return gateway in self._files

    def look_again(self, gateways: Iterable[str]) -> None:
        """Read the files of these again, which do not believe us. It waits for the disk."""
        for gateway in gateways:
            if (held := self._held.get(gateway)) is not None:
                held.accept(held.now())
            elif not self._begin(gateway):
                log.info("[gateway.%s] key_file can be used now", gateway)

    def _begin(self, gateway: str) -> str:
        """Why its file cannot be used, "" if it can."""
        file = self._files[gateway]
        name = f"[gateway.{gateway}] key_file {file}"
        try:
            self._held[gateway] = keyfile.in_use(name, file)
        except OSError as error:
            return f"{name}: {error.strerror}"
        except KeyFileError as error:
            return f"{name} {error}"
        return ""


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
