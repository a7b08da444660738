"""What we show a broker, and it us: a password, certificates. Read anew for each connection."""

import hashlib
import ssl
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from wire import secretfile
from wire.mqtt.terms import Broker, Refused

_MOST_OF_A_FILE: Final = 4 << 20
"""Bytes: certificates of all authorities are a tenth of that."""


@dataclass(frozen=True)
class Shown:
    """The password, and what TLS needs; two are equal if their files hold the same."""

    password: str | None = field(repr=False)
    digests: tuple[bytes | None, ...]
    tls: ssl.SSLContext | None = field(compare=False, repr=False)


class Access:
    """The same over many connections: what the broker took last serves again where a file is
    missing, empty or unreadable, and where the broker refuses what is in it now. With `is_steady`
    nothing is read anew."""

    def __init__(self, broker: Broker, *, is_steady: bool = False) -> None:
        self._broker = broker
        self._is_steady = is_steady
        self._in_use: secretfile.InUse[Shown] | None = None

    def candidates(self) -> list[Shown]:
        """What to try, one after the other. Raises Refused. A disk may take its time: not for an
        event loop on which others depend."""
        if self._in_use is None:
            broker = self._broker
            name = f"the password or a certificate file of broker {broker}"
            self._in_use = secretfile.InUse(name, partial(_read, broker), (Refused,))
            return [self._in_use.value]
        before = self._in_use.value
        found = before if self._is_steady else self._in_use.now()
        return [found] if found == before else [found, before]

    def taken(self, shown: Shown, refused: Shown | None) -> None:
        """The broker has let us in with `shown`, and not with `refused`."""
        assert self._in_use is not None
        self._in_use.accept(shown)
        if refused is not None:
            self._in_use.decline(refused)


def _read(broker: Broker) -> Shown:
    """Raises Refused."""
    try:
        password = broker.password()
        if not broker.tls:
            return Shown(password, (), None)
        files = (broker.ca_file, broker.cert_file, broker.key_file)
        # ssl's own error does not say which file is missing.
        digests = tuple(None if file is None else _digest(file) for file in files)
        return Shown(password, digests, _context(broker))
    except ssl.SSLError as error:
        raise Refused(f"the certificate files cannot be used: {error.reason}") from None
    except OSError as error:
        raise Refused(f"{error.strerror}: {error.filename}") from None


def _digest(file: str) -> bytes:
    return hashlib.sha256(secretfile.read(file, _MOST_OF_A_FILE, pipes=False)).digest()


def _context(broker: Broker) -> ssl.SSLContext:
    # OpenSSL says no more of a file without a certificate than that there is something it has not.
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
    except ssl.SSLError:
        raise Refused(f"ca_file {broker.ca_file} holds no certificate (PEM)") from None
    if broker.cert_file is not None:
        key_file = broker.key_file or broker.cert_file
        try:
            # A key that has a password is refused: OpenSSL would ask for it at the terminal.
            context.load_cert_chain(broker.cert_file, broker.key_file, password="")
        except ssl.SSLError as error:
            raise Refused(
                f"cert_file {broker.cert_file} and key_file {key_file} are no certificate and its "
                f"key (PEM, without a password): {error.reason or 'they cannot be read'}"
            ) from None
    return context
