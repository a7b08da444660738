"""Signatures: whoever checks them, all agree."""

import ctypes
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from wire import ed25519

_hashlib = pytest.importorskip("_hashlib")

needs_openssl = pytest.mark.skipif(
    not hasattr(_hashlib, "__file__"), reason="OpenSSL is built into this interpreter"
)
CHECKS = [
    pytest.param(lambda: ed25519.of_openssl(ctypes.CDLL(_hashlib.__file__)), marks=needs_openssl),
    ed25519.of_package,
    ed25519.load,
]
VECTORS = [  # RFC 8032, 7.1: public key, signature, text
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        "",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        "af82",
    ),
]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("make", CHECKS)
@pytest.mark.parametrize("vector", VECTORS)
def test_a_right_signature_fits_and_no_other(make, vector):
    check = make()
    key, signature, text = map(bytes.fromhex, vector)
    assert check(key, signature, text)
    assert not check(key, signature, text + b"\0")
    assert not any(check(key, flipped(signature, bit), text) for bit in range(0, 512, 7))
    assert not any(check(flipped(key, bit), signature, text) for bit in range(0, 256, 7))
    assert check(key, signature, text)


@needs_openssl
@examples(100)
@given(key=st.binary(min_size=32, max_size=32), text=st.binary(), bit=st.integers(0, 1023))
def test_both_libraries_say_the_same(key, text, bit):
    private = Ed25519PrivateKey.from_private_bytes(key)
    public, signature = private.public_key().public_bytes_raw(), private.sign(text)
    both = ed25519.of_openssl(ctypes.CDLL(_hashlib.__file__)), ed25519.of_package()
    assert [check(public, signature, text) for check in both] == [True, True]
    spoiled = flipped(signature, bit % 512)
    assert len({check(key, spoiled, text) for check in both}) == 1
    assert len({check(public, spoiled, text) for check in both}) == 1


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33])
def test_a_key_of_another_length_is_none(key):
    with pytest.raises(ValueError, match=f"32 bytes, not {len(key)}"):
        ed25519.fits(key, b"s" * 64, b"")


@pytest.mark.parametrize("length", [0, 63, 65, 4096])
def test_a_signature_of_another_length_never_fits(length):
    key, signature, text = ed25519._RIGHT
    assert ed25519.fits(key, signature, text)
    assert not ed25519.fits(key, (signature * 64)[:length], text)


@needs_openssl
def test_a_wrong_signature_leaves_no_error_behind_for_tls():
    key, signature, text = ed25519._RIGHT
    library = ctypes.CDLL(_hashlib.__file__)
    library.ERR_peek_error.restype = ctypes.c_ulong
    assert not ed25519.of_openssl(library)(key, signature[::-1], text)
    assert not ed25519.of_openssl(library)(b"\xff" * 32, b"\xff" * 64, text)
    assert library.ERR_peek_error() == 0


def _is_not_there(_: ctypes.CDLL) -> ed25519.Check:
    raise AttributeError("undefined symbol: EVP_DigestVerify")


@pytest.mark.parametrize(
    "broken", [_is_not_there, lambda _: lambda *_: True, lambda _: lambda *_: False]
)
def test_a_library_that_does_not_do_it_right_is_not_used(broken, monkeypatch):
    monkeypatch.setattr(ed25519, "of_openssl", broken)
    ed25519.load.cache_clear()
    try:
        key, signature, text = ed25519._RIGHT
        assert ed25519.fits(key, signature, text)
        assert not ed25519.fits(key, signature, text + b"x")
    finally:
        ed25519.load.cache_clear()


@needs_openssl
def test_to_check_a_signature_loads_no_second_library():
    code = "from wire import ed25519; assert ed25519.fits(*ed25519._RIGHT)"
    code += "; import sys; assert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
