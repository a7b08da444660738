"""Which acks the gateway believes: what it deletes for an ack is gone.

With a key (`[uplink] key_file`) an ack must prove that the cloud wrote it. Without one an ack is
believed if it names nothing but batches that this process has sent: what it has not sent nobody can
have stored.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from edge.batches import Position
from edge.config import Setup
from wire import codec, keyfile
from wire.authentication import Keys
from wire.keyfile import KeyFileError
from wire.messages import Ack
from wire.ranges import Intervals, Range
from wire.secretfile import InUse
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.uplink")

HIGHEST: Final = 2**44 - 1
"""A batch's number has 44 bits: `edge.shelf.Key`."""


AGAIN_S: Final = 10.0
"""For acks that are not proven the key file is read so often at most: anybody can send some."""


def proof_of(setup: Setup) -> "Proof":
    """The proof that a config asks for. With a key file that cannot be used no ack is believed:
    whoever can take the file away must not be believed for it."""
    if (file := setup.key_file) is None:
        return Proof(demanded=False)
    proof = Proof(demanded=True, file=file)
    proof.begin()
    return proof


def proof_of_gateway(setup: Setup) -> "Proof":
    """The same for a gateway that runs: a key that cannot be used is an error in its log."""
    if (proof := proof_of(setup)).fault:
        log.error("%s: no ack is believed, and no batch deleted, until it is mended", proof.fault)
    return proof


class Proof:
    """What an ack must prove, and with what a reply is proven. `fault`: why there is no key,
    although the config names one in `file`."""

    __slots__ = ("_again", "_held", "demanded", "fault", "file", "keys")

    def __init__(
        self, *, demanded: bool, keys: Keys | None = None, fault: str = "", file: Path | None = None
    ) -> None:
        self.demanded = demanded
        self.keys = keys
        self.fault = fault
        self.file = file
        self._held: InUse[Keys] | None = None
        self._again = Seldom(AGAIN_S)

    def begin(self) -> None:
        """Read the file."""
        if self.file is None:
            return
        try:
            self._held = keyfile.in_use("[uplink] key_file", self.file)
        except OSError as error:
            self.fault = f"{self.file}: {error.strerror}"
        except KeyFileError as error:
            self.fault = f"{self.file} {error}"
        else:
            self.keys, self.fault = self._held.value, ""

    def may_be_read_again(self) -> bool:
        """Whether there is a file, and it was not read just now."""
        return self.file is not None and self._again.says() is not None

    def read_again(self, ack: Ack, gateway: str) -> None:
        """Where `ack` is proven by a key that the file has now, that one is used. It waits for the
        disk."""
        if self._held is None:
            self.begin()
            return
        other = self._held.instead(self._held.value)
        if other is not None and other.believe(ack, gateway):
            self._held.accept(other)
            self.keys = other


NO_PROOF: Final = Proof(demanded=False)


class Acks:
    """Judges the acks to `gateway`. `refused` counts those that were not believed, `unproven` is
    true from one that proves nothing until one that does.

    `begin` is where the outbox stands now: what was sealed until then an earlier process may have
    sent, and an ack to that may still come. It deletes nothing and says nothing.
    """

    def __init__(
        self, gateway: str, proof: Proof = NO_PROOF, begin: Position | None = None
    ) -> None:
        self.proof = proof
        self.refused = 0
        self.unproven = False
        self._gateway = gateway
        self._begin = begin
        # Of a stream nearly all numbers go out, so that few intervals remain. It is never forgotten
        # what was sent, though the outbox may have let go of it: an ack may come late, or again.
        self._sent: dict[str, Intervals] = {}
        self._seldom = Seldom()

    def sent(self, stream: str, number: int) -> None:
        """A batch goes out."""
        if not self.proof.demanded:
            self._sent.setdefault(stream, Intervals()).add(number)

    async def believed_anew(self, ack: Ack) -> list[Range] | None:
        """As `believed`; the key file is read again where an ack is not proven: its key may have
        been changed. In a thread: a disk may not answer."""
        proof = self.proof
        if (found := self.believed(ack)) is not None or not proof.demanded:
            return found
        if (proof.keys is not None and not self.unproven) or not proof.may_be_read_again():
            return None
        await asyncio.to_thread(proof.read_again, ack, self._gateway)
        return self.believed(ack) if self._is_proven(ack) else None

    def believed(self, ack: Ack) -> list[Range] | None:
        """The batches that may be deleted for it, None if it is not believed. An ack may name none,
        and say that the cloud is there again."""
        if any(not 1 <= first <= last <= HIGHEST for first, last in ack.batches):
            self._refuse("names numbers that no batch can have")
            return None
        if not self.proof.demanded:
            sent = self._sent.get(ack.stream)
            if sent is None or not all(sent.covers(*numbers) for numbers in ack.batches):
                if self._is_late(ack):
                    return None
                self._refuse("names batches that were not sent since the start")
                return None
        elif self.proof.keys is None:
            self._refuse(f"cannot be proven: {self.proof.fault}")
            return None
        elif not self._is_proven(ack):
            self.unproven = True
            self._refuse(
                "is not proven: the cloud has no key of ours, or another one, or somebody else "
                "has written it",
            )
            return None
        elif self.unproven:
            self.unproven = False
            log.info("an ack is proven again")
        return list(ack.batches)

    def _is_proven(self, ack: Ack) -> bool:
        return self.proof.keys is not None and self.proof.keys.believe(ack, self._gateway)

    def _is_late(self, ack: Ack) -> bool:
        if self._begin is None:
            return False
        return ack.stream != self._begin.stream or all(
            last <= self._begin.sealed or self._sent_all(ack.stream, first, last)
            for first, last in ack.batches
        )

    def _sent_all(self, stream: str, first: int, last: int) -> bool:
        """Whether all of it that was sealed since the start was sent."""
        assert self._begin is not None
        first = max(first, self._begin.sealed + 1)
        return stream in self._sent and self._sent[stream].covers(first, last)

    def skip(self, error: codec.DecodeError) -> None:
        """What is no ack at all."""
        self._refuse("cannot be read", f": {error}")

    def _refuse(self, why: str, words: str = "") -> None:
        """`why` is one of a few; the words may be somebody's."""
        self.refused += 1
        if (more := self._seldom.says(why)) is not None:
            words += f" ({more} more before)" if more else ""
            log.warning("an ack is not believed, and nothing deleted: it %s%s", why, words)
