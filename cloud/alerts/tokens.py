"""Signed tokens for answer links: whoever has one was sent it.

A token is the id of a call and an HMAC-SHA256 over it (RFC 2104), cut to 128 bits, in base64url. It
says nothing else: whether it was used, and what it answers, is with the call.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Final

from sqlalchemy import Connection, select

from cloud import database, tables

_SIGNATURE_BYTES: Final = 16
_NAME: Final = "answers"
_DOMAIN: Final = b"shuichi answer v1\0"
_DEPLOYMENT: Final = b"shuichi deployment v1\0"


def kept(connection: Connection) -> bytes:
    """The secret of this deployment, which is made by whoever needs it first."""
    fresh = {"name": _NAME, "value": secrets.token_bytes(32)}
    connection.execute(
        database.insert(connection, tables.secret).values(fresh).on_conflict_do_nothing()
    )
    wanted = select(tables.secret.c.value).filter_by(name=_NAME)
    return bytes(connection.execute(wanted).scalar_one())


def deployment(connection: Connection) -> str:
    """A name that this state has, and no other: a broker may serve several."""
    return hashlib.sha256(_DEPLOYMENT + kept(connection)).hexdigest()[:12]


class Tokens:
    """All tokens of one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, call: str) -> str:
        """The token for a call: letters, digits, `-`, `_` and one dot."""
        digest = hmac.digest(self._secret, _DOMAIN + call.encode(), hashlib.sha256)
        signature = base64.urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).rstrip(b"=").decode()
        return f"{call}.{signature}"

    def read(self, token: str) -> str | None:
        """The call that a token is for, None if it was not signed by us."""
        call, _, _ = token.partition(".")
        expected = self.sign(call).encode()
        return call if hmac.compare_digest(expected, token.encode()) else None
