"""TLS to a server: whom we trust, who we are to it, and what to say where that fails.

Files are PEM. They may be renewed while we run: they are read again every `LOOK_S`, and after each
connection that fails; new connections then use them.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from cloud.errors import Unavailable
from configs.text import clean
from wire import secretfile

log: Final = logging.getLogger("shuichi.http")

LOOK_S: Final = 60.0

_MOST_BYTES: Final = 4 << 20
"""Of a file: certificates of all authorities are a tenth of that."""

_MOST_CAUSES: Final = 12

_BY_NOBODY: Final = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's codes for a certificate whose signer is not among those that are trusted."""

_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_OTHER_NAME: Final = frozenset({62, 63, 64})

_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH")
_WANTS_OURS: Final = ("CERTIFICATE_REQUIRED", "PEER_DID_NOT_RETURN_A_CERTIFICATE")
_REFUSES_OURS: Final = (
    *("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED"),
    *("CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "ACCESS_DENIED"),
)

_HUNG_UP: Final = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


class Files(NamedTuple):
    """Without `ca` the authorities are trusted that this machine's programs trust; with it, those
    in it alone. `cert` with its `key` (which may be in the same file) is who we are."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the files: key of the config, and why."""
        unreadable = False
        for key, path in zip(("ca_file", "cert_file", "key_file"), self, strict=True):
            if path is not None and (why := _unreadable(path)):
                unreadable = True
                yield key, f"{path}: {why}"
        if self.ca is not None and not _unreadable(self.ca):
            try:
                ssl.create_default_context(cafile=self.ca)
            except ssl.SSLError:  # it says no more than that there is something it has not
                yield "ca_file", f"{self.ca} holds no certificate (PEM)"
        if self.cert is not None and not unreadable:
            try:
                self._present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            except ssl.SSLError as error:
                named = f"{self.cert} and key_file {self.key or self.cert}"
                yield (
                    "cert_file",
                    f"{named} are no certificate and its key (PEM, without a password): "
                    f"{error.reason or 'they cannot be read'}",
                )

    def context(self) -> ssl.SSLContext:
        """Raises Unavailable with all that is wrong, in one line."""
        if not any(self):
            return authorities()
        if found := [f"{key} {problem}" for key, problem in self.faults()]:
            raise Unavailable("; ".join(found))
        try:
            made = (
                httpx.create_ssl_context()
                if self.ca is None
                else ssl.create_default_context(cafile=self.ca)
            )
            self._present(made)
        except OSError as error:  # ssl.SSLError is one: somebody is writing them now
            raise Unavailable(f"the certificate files cannot be used: {error}") from None
        return made

    def contents(self) -> list[bytes]:
        """What is in them; b"" for one that cannot be read."""
        return [b"" if one is None else _content(one) for one in self]

    def _present(self, context: ssl.SSLContext) -> None:
        if self.cert is not None:
            # A key that has a password is refused: OpenSSL would ask for it at the terminal.
            context.load_cert_chain(self.cert, self.key, password="")


NO_FILES: Final = Files()


@cache
def authorities() -> ssl.SSLContext:
    """Those that are trusted without a `ca`. Read once: there are many, and it takes longer than a
    request."""
    return httpx.create_ssl_context()


def words(error: BaseException, files: Files) -> str | None:
    """What is wrong, and how to mend it, where TLS is behind an error; else None."""
    found = _of_tls(error)
    if isinstance(found, ssl.SSLCertVerificationError):
        said = clean(str(found.verify_message).rstrip("."), 200)
        mend = _mend(getattr(found, "verify_code", 0), files)
        return f"its certificate is not to be trusted: {said}" + (f": {mend}" if mend else "")
    if found is None:
        return None
    said = clean(str(found.reason or found), 200)
    if any(one in said for one in _NO_TLS):
        return f"it does not speak TLS ({said}): is it http:// ?"
    if any(one in said for one in _WANTS_OURS):
        return f"it demands a certificate of ours ({said}): cert_file and key_file"
    if any(one in said for one in _REFUSES_OURS):
        mine = "ours, and there is none: cert_file" if files.cert is None else f"{files.cert}"
        return f"it refuses the certificate that is {mine} ({said})"
    return f"TLS failed: {said}"


def _mend(code: int, files: Files) -> str:
    if code in _BY_NOBODY:
        if files.ca is None:
            return "ca_file has to name the certificate of who signed it"
        return f"who signed it is not in ca_file {files.ca}"
    if code in (_EXPIRED, _NOT_YET_VALID):
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        return f"it has to be renewed there, or the clock of this machine, {now} UTC, is wrong"
    if code in _OTHER_NAME:
        return "url has to name the server as its certificate does"
    return ""


def _of_tls(error: BaseException) -> ssl.SSLError | None:
    """The error of TLS that another one was made of."""
    waiting, seen = [error], 0
    while waiting and seen < _MOST_CAUSES:
        one, seen = waiting.pop(0), seen + 1
        if isinstance(one, ssl.SSLError):
            return one
        behind = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [each for each in behind if isinstance(each, BaseException)]
    return None


class Transport(httpx.AsyncBaseTransport):
    """HTTP to one server as `files` say. `make` gives a client that trusts and presents what a
    context does; by proxies of the environment it goes as any other."""

    def __init__(self, files: Files, make: Callable[[ssl.SSLContext], httpx.AsyncClient]) -> None:
        """Raises Unavailable."""
        self._files = files
        self._make = make
        self._contents = files.contents()
        self._client = make(files.context())
        self._before: httpx.AsyncClient | None = None  # requests of its may be under way
        self._look_at = time.monotonic() + LOOK_S
        self._fault = ""
        self._answers = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if time.monotonic() >= self._look_at:
            await self._look()
        try:
            # Whoever asks has put into the request what it is authorised by.
            answer = await self._client.send(request, auth=httpx.Auth(), stream=True)
        except (httpx.TransportError, ssl.SSLError) as error:
            self._look_at = 0.0
            said = words(error, self._files) or self._ended(error)
            if said is None:
                raise
            # An alert that comes in place of an answer is no exception of httpx's.
            kind = type(error) if isinstance(error, httpx.TransportError) else httpx.ReadError
            raise kind(said, request=request) from error
        self._answers = True
        return answer

    async def aclose(self) -> None:
        for one in (self._client, self._before):
            if one is not None:
                await one.aclose()

    def _ended(self, error: Exception) -> str | None:
        """Of a server that has never answered: what it says of our certificate may be lost when it
        hangs up, for what we have sent lies there unread."""
        if self._answers or not isinstance(error, _HUNG_UP):
            return None
        mine = self._files.cert
        what = "demand a certificate of ours (cert_file)" if mine is None else f"refuse {mine}"
        return f"it hangs up without an answer: does it {what}?"

    async def _look(self) -> None:
        """Use what the files hold now. While they do not fit together, as between two steps of a
        renewal, what they held before serves."""
        self._look_at = time.monotonic() + LOOK_S
        found = await asyncio.to_thread(self._files.contents)
        if found == self._contents:
            return
        try:
            context = await asyncio.to_thread(self._files.context)
        except Unavailable as error:
            if str(error) != self._fault:
                log.warning("the certificates that were read before serve on: %s", error)
            self._fault = str(error)
            return
        log.info("the certificate files have changed: new connections use them")
        if self._before is not None:
            await self._before.aclose()
        self._client, self._before = self._make(context), self._client
        self._contents, self._fault = found, ""


def _unreadable(path: Path) -> str:
    """Why a file cannot be read, "" if it can."""
    try:
        secretfile.read(path, _MOST_BYTES, pipes=False)
    except OSError as error:
        return str(error.strerror)
    except ValueError:  # a NUL
        return "is no path"
    return ""


def _content(path: Path) -> bytes:
    try:
        return secretfile.read(path, _MOST_BYTES, pipes=False)
    except (OSError, ValueError):
        return b""
