"""Which acks the gateway believes: what it deletes for an ack is gone.

With a key (`[uplink] key_file`) an ack must prove that the cloud wrote it. Without one an ack is
believed if it names nothing but batches that this process has sent: what it has not sent nobody can
have stored.
"""

import logging
from typing import Final

from edge.config import Setup
from wire.authentication import Keys
from wire.keyfile import KeyFileError, read
from wire.messages import Ack
from wire.ranges import Intervals, Range
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.uplink")

HIGHEST: Final = 2**44 - 1
"""A batch's number has 44 bits: `edge.shelf.Key`."""


def proof_of(setup: Setup) -> "Proof":
    """The proof that a config asks for. A key file that cannot be used is told, and then no ack is
    believed: whoever can take the file away must not be believed for it."""
    if (file := setup.key_file) is None:
        return Proof(demanded=False)
    try:
        return Proof(demanded=True, keys=read(file))
    except OSError as error:
        fault = f"{file}: {error.strerror}"
    except KeyFileError as error:
        fault = f"{file} {error}"
    log.error("%s; no ack is believed, and no batch deleted, until it can be read", fault)
    return Proof(demanded=True, fault=fault)


class Proof:
    """What an ack must prove, and with what a reply is proven. `fault`: why there is no key,
    although the config names one."""

    __slots__ = ("demanded", "fault", "keys")

    def __init__(self, *, demanded: bool, keys: Keys | None = None, fault: str = "") -> None:
        self.demanded = demanded
        self.keys = keys
        self.fault = fault


NO_PROOF: Final = Proof(demanded=False)


class Acks:
    """Judges the acks to `gateway`. `refused` counts those that were not believed, `unproven` is
    true from then on until one is proven."""

    def __init__(self, gateway: str, proof: Proof = NO_PROOF) -> None:
        self.proof = proof
        self.refused = 0
        self.unproven = False
        self._gateway = gateway
        # Of a stream nearly all numbers go out, so that few intervals remain. It is never forgotten
        # what was sent, though the outbox may have let go of it: an ack may come late, or again.
        self._sent: dict[str, Intervals] = {}
        self._seldom = Seldom()

    def sent(self, stream: str, number: int) -> None:
        """A batch goes out."""
        if not self.proof.demanded:
            self._sent.setdefault(stream, Intervals()).add(number)

    def believed(self, ack: Ack) -> list[Range]:
        """The batches that may be deleted for it; none if it is not believed."""
        if any(not 1 <= first <= last <= HIGHEST for first, last in ack.batches):
            return self._refuse(ack, "names numbers that no batch can have")
        if not self.proof.demanded:
            sent = self._sent.get(ack.stream)
            if sent is None or not all(sent.covers(*numbers) for numbers in ack.batches):
                return self._refuse(ack, "names batches that were not sent since the start")
        elif self.proof.keys is None:
            return self._refuse(ack, f"cannot be proven: {self.proof.fault}")
        elif not self.proof.keys.believe(ack, self._gateway):
            self.unproven = True
            return self._refuse(ack, "is not proven: the cloud has no key of ours, or another one")
        self.unproven = False
        return list(ack.batches)

    def _refuse(self, ack: Ack, why: str) -> list[Range]:
        self.refused += 1
        if (more := self._seldom.says(why)) is not None:
            also = f" ({more} more before)" if more else ""
            log.warning("an ack is not believed, and nothing deleted: it %s%s", why, also)
        return []
