"""Whether an Ed25519 signature (RFC 8032) fits.

OpenSSL checks it: the one that Python has loaded already for its own hashes. The package
`cryptography` brings an OpenSSL of its own and takes 8 MiB, which a gateway does not have. It does
the work where Python's cannot be reached: built into the interpreter, too old, or not allowed to.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

Check: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""`check(key, signature, text)`, key and signature of the right length."""

_NID_ED25519: Final = 1087
"""<openssl/obj_mac.h>, the same in every version."""

_RIGHT: Final = (
    bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
    bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    ),
    b"\x72",
)
"""Test 2 of RFC 8032, 7.1."""


def fits(key: bytes, signature: bytes, text: bytes) -> bool:
    """Whether `signature` is that of the private key of `key` for `text`. Raises ValueError for a
    key that is none."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a public key has {KEY_BYTES} bytes, not {len(key)}")
    return len(signature) == SIGNATURE_BYTES and load()(key, signature, text)


@cache
def load() -> Check:
    """What checks signatures here. It takes a moment: not in the event loop."""
    try:
        import _hashlib

        check = of_openssl(ctypes.CDLL(_hashlib.__file__))
        key, signature, text = _RIGHT
        if check(*_RIGHT) and not check(key, signature, text + b"x"):
            return check
    except (ImportError, AttributeError, OSError):
        pass
    return of_package()


def of_package() -> Check:
    """`cryptography`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    def check(key: bytes, signature: bytes, text: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return check


def of_openssl(library: ctypes.CDLL) -> Check:
    """OpenSSL 1.1.1 or later, among what `library` was linked with (EVP_DigestVerify, man page 3).
    Raises AttributeError if it is not there."""

    def function(name: str, result: Any, *arguments: Any) -> Any:
        found = getattr(library, name)
        found.restype, found.argtypes = result, arguments
        return found

    pointer, size, data = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    new_key = function("EVP_PKEY_new_raw_public_key", pointer, ctypes.c_int, pointer, data, size)
    free_key = function("EVP_PKEY_free", None, pointer)
    new_context = function("EVP_MD_CTX_new", pointer)
    free_context = function("EVP_MD_CTX_free", None, pointer)
    begin = function("EVP_DigestVerifyInit", ctypes.c_int, *[pointer] * 5)
    verify = function("EVP_DigestVerify", ctypes.c_int, pointer, data, size, data, size)
    forget_errors = function("ERR_clear_error", None)

    def check(key: bytes, signature: bytes, text: bytes) -> bool:
        public, context = new_key(_NID_ED25519, None, key, len(key)), new_context()
        try:
            return (
                bool(public and context)
                and begin(context, None, None, None, public) == 1
                and verify(context, signature, len(signature), text, len(text)) == 1
            )
        finally:
            free_context(context)
            free_key(public)
            forget_errors()  # else TLS would take them for its own

    return check
