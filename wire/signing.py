"""Who may give orders: Ed25519 signatures (RFC 8032) on commands and leases.

What is signed are the very bytes that travel, so that no two programs need agree on how JSON is
spelled:

    {"body": "{...}", "key": "ops-1", "signature": "<base64>"}

A context word is signed with them, so that a lease can never pass for a command.
"""

import base64
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from wire import codec, ed25519, limits
from wire.messages import Command, Lease

_PREFIX: Final = b"shuichi/v1/"

LARGEST_COMMAND: Final = 4096
"""Bytes of a signed command: what is larger no gateway reads."""


class Context(StrEnum):
    """What a signature is for."""

    COMMAND = "command"
    LEASE = "lease"
    BOARD = "board"


class SignatureError(ValueError):
    """The message is not signed by a key that we know; the text says why."""


class Signed(msgspec.Struct, frozen=True):
    """A message as it travels, not verified: the body, and by which key it claims to be signed."""

    body: str
    key: Annotated[str, msgspec.Meta(max_length=limits.ID)]
    signature: Annotated[str, msgspec.Meta(max_length=limits.SIGNATURE)]


def generate() -> tuple[str, str]:
    """A new private and public key, each 32 bytes in base64."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    return (
        base64.b64encode(private.private_bytes_raw()).decode(),
        base64.b64encode(private.public_key().public_bytes_raw()).decode(),
    )


def public_of(private: str) -> str:
    """The public key that goes with a private one, both in base64. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(_bytes(private, "private key"))
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def sign(message: Command | Lease, key: str, private: str) -> bytes:
    """`message` as it travels, signed with the private key (base64) named `key`."""
    return sign_body(codec.encode(message), _context(type(message)), key, private)


def sign_body(body: bytes, context: Context, key: str, private: str) -> bytes:
    """The same for any body of UTF-8. Raises ValueError for a private key that is none."""
    # Imported here: a gateway that signs nothing need not carry the library in memory.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519PrivateKey.from_private_bytes(_bytes(private, "private key"))
    signature = signer.sign(_signed_bytes(context, body))
    return msgspec.json.encode(Signed(body.decode(), key, base64.b64encode(signature).decode()))


def verify_command(payload: bytes, keys: Mapping[str, str]) -> tuple[Command, str]:
    """The command in `payload` and the name of the key that signed it.

    `keys` maps names to public keys (base64). Raises SignatureError, or DecodeError if what was
    rightly signed is no command.
    """
    body, key = verify_body(payload, keys, Context.COMMAND)
    return codec.decode(body, Command), key


def verify_lease(payload: bytes, keys: Mapping[str, str]) -> tuple[Lease, str]:
    """The lease in `payload` and the name of its key; raises as `verify_command` does."""
    body, key = verify_body(payload, keys, Context.LEASE)
    return codec.decode(body, Lease), key


def opened(payload: bytes) -> Signed:
    """The parts of a signed message, none of which is proven. Raises SignatureError."""
    if len(payload) > limits.SMALL_BYTES:
        raise SignatureError(f"not signed: {len(payload)} bytes are too many")
    try:
        return msgspec.json.decode(payload, type=Signed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SignatureError(f"not signed: {error}") from None


def verify(signed: Signed, keys: Mapping[str, str], context: Context) -> bytes:
    """The body that was signed for `context`. Raises SignatureError."""
    if (public := keys.get(signed.key)) is None:
        raise SignatureError(f"key {signed.key[:64]!r} is not known here")
    body = signed.body.encode()
    signature = _bytes(signed.signature, "signature")
    try:
        is_right = ed25519.fits(
            _bytes(public, "public key"), signature, _signed_bytes(context, body)
        )
    except ValueError as error:
        raise SignatureError(str(error)) from None
    if not is_right:
        raise SignatureError(f"the signature does not fit key {signed.key!r}")
    return body


def verify_body(payload: bytes, keys: Mapping[str, str], context: Context) -> tuple[bytes, str]:
    """The body that was signed for `context`, and the name of its key. Raises SignatureError."""
    signed = opened(payload)
    return verify(signed, keys, context), signed.key


def load_library() -> None:
    """Load the library that verifies, which takes a moment: not in the event loop."""
    ed25519.load()


def _context(kind: type[Command] | type[Lease]) -> Context:
    return Context.COMMAND if kind is Command else Context.LEASE


def _signed_bytes(context: Context, body: bytes) -> bytes:
    return _PREFIX + context.encode() + b"\n" + body


def _bytes(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or letters that are not ASCII
        raise SignatureError(f"the {what} is not base64") from None
