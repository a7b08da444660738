"""HTTP as stores and channels use it: the one seam where its failures become ours."""

import asyncio
import codecs
import logging
import os
import re
import ssl
import string
import zlib
from base64 import b64encode
from collections.abc import AsyncGenerator, Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx
import msgspec
from pydantic import AfterValidator

from cloud.errors import Rejected, Unavailable
from cloud.tls import Files, Transport, authorities
from configs.text import clean
from wire import secretfile

# It logs each request with its whole URL, and a robot's URL is its password.
logging.getLogger("httpx").setLevel(logging.WARNING)

REFUSED: Final = frozenset({400, 405, 406, 409, 410, 413, 414, 415, 422})
"""What a server says to a request that it will not take however often it comes."""

MOST_BYTES: Final = 1 << 20
"""Of an answer that is a receipt, or a reason."""

LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20)
"""Connections of one client: as httpx has it."""

PATIENCE: Final = 5
"""Time-outs, each for a piece of an answer, in which the whole must be here."""

_DAY_S: Final = 86_400.0

_MOST_WORDS: Final = 300
"""Characters of a reason."""

_BEGINS: Final = 2000
"""Bytes of an answer in which its reason is looked for."""

_BEFORE_IT_WENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Failures of requests that no server has seen."""

FAILURES: Final = (httpx.HTTPError, ssl.SSLError)
"""What httpx raises: an alert of TLS in the middle of a connection comes as it is."""

_OF_TRANSFER: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})

_REFUSED_US: Final = frozenset({401, 403})
"""What a server says to those that it does not know, or knows too well."""

ENVIRONMENT: Final = "env:"
"""Begins what is not a file but a name in the environment."""


def client(
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    *,
    tls: Files | None = None,
    limits: httpx.Limits = LIMITS,
    **more: Any,
) -> httpx.AsyncClient:
    """To ask with; `async with` it. It keeps no cookies: they would grow with each answer, and
    nobody here has a session. `tls`: for one server over https, by certificates of its own. `more`
    is for httpx. Raises Unavailable for files of `tls` that cannot be used."""

    def made(context: ssl.SSLContext, **more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=timeout_s,
            verify=context,
            limits=limits,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            **more,
        )

    if tls is not None:
        more["transport"] = Transport(tls, made)
    asked = {"Accept-Encoding": "gzip", **(headers or {})}
    return made(authorities(), headers=asked, **more)


async def ask(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    accept: Collection[int] = (),
    refused: Collection[int] = REFUSED,
    most: int = MOST_BYTES,
) -> httpx.Response:
    """The answer, if it says success or one of the codes in `accept`. Else raises Rejected for one
    of the codes in `refused`, or Unavailable, with the server's own words. An answer of more than
    `most` bytes, or one that is not through in `PATIENCE` times the time-out, is none."""
    request = http.build_request(method, path, params=params, content=content, headers=headers)
    read_s = http.timeout.read
    try:
        async with asyncio.timeout(None if read_s is None else PATIENCE * read_s):
            response = await _bounded(http, request, most)
    except FAILURES as error:
        raise unavailable(request.url, error) from error
    except TimeoutError:
        words = f"{origin(request.url)} does not come to an end"
        raise Unavailable(words, unsure=True) from None
    if response.is_success or response.status_code in accept:
        return response
    said = _sent_on(response) or _words(response.content)
    text = f"{origin(request.url)} says {response.status_code}: {said}"
    if response.status_code in refused:
        raise Rejected(text)
    raise Unavailable(text, retry_after_s(response.headers.get("Retry-After", "")))


def _sent_on(answer: httpx.Response) -> str:
    """Of an answer that sends us elsewhere, which nobody follows: what we say might go to anybody.
    "" for any other."""
    if not answer.has_redirect_location:
        return ""
    try:
        place = origin(answer.request.url.join(answer.headers["Location"]))
    except (httpx.InvalidURL, ValueError):
        place = "another place"
    return f"it sends us to {clean(place, 200)}; the URL in the config has to name the right place"


async def put(
    http: httpx.AsyncClient,
    path: str,
    params: Mapping[str, str],
    lines: bytes,
    accept: Collection[int] = (),
) -> httpx.Response:
    """Write `lines` into a store of time series. Raises as `ask`; also Unavailable where success is
    not said as such a store says it (204, no content): a proxy's page to log in is a success too,
    and nobody has what was written."""
    answer = await ask(http, "POST", path, params=params, content=lines, accept=accept)
    if answer.is_success and answer.status_code != 204:
        raise Unavailable(
            f"{origin(answer.request.url)} says {answer.status_code} to what is written, and a"
            f" store says 204: what answers there? {_words(answer.content)}"
        )
    return answer


def retry_after_s(header: str) -> float | None:
    """What `Retry-After` says (RFC 9110, 10.2.3): seconds, or a date; None if it says nothing that
    can be understood. A day at most."""
    words = header.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", words):
        return min(float(words), _DAY_S)
    try:
        at = parsedate_to_datetime(words)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        left_s = (at - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser's ways to say no
        return None
    return min(max(0.0, left_s), _DAY_S)


def json_of(body: bytes) -> Any:
    """The JSON of an answer, though its server begins it with a byte order mark, or writes its
    words in GBK. Raises Unavailable."""
    try:
        return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.json.decode(body.decode("gb18030").encode())
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unavailable("the answer is not JSON", unsure=True) from None


async def _bounded(http: httpx.AsyncClient, request: httpx.Request, most: int) -> httpx.Response:
    """The whole answer. A server that talks without end must not fill our memory, nor one whose
    few bytes unpack to many."""
    response = await http.send(request, stream=True)
    too_much = f"{origin(request.url)} says more than {most} bytes"
    try:
        unpack = _unpacker(response.headers.get("Content-Encoding", ""))
        found, piece = bytearray(), b""
        async for piece in response.aiter_raw():
            found += piece if unpack is None else unpack.decompress(piece, most + 1 - len(found))
            if len(found) > most:
                raise Unavailable(too_much, unsure=True)
        if piece and unpack is not None and not unpack.eof:
            raise Unavailable(f"{origin(request.url)} breaks off its answer", unsure=True)
    except zlib.error:
        words = f"{origin(request.url)}: the answer cannot be unpacked"
        raise Unavailable(words, unsure=True) from None
    finally:
        await response.aclose()
    headers = [one for one in response.headers.raw if one[0].lower() not in _OF_TRANSFER]
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(found), request=request
    )


def _unpacker(encoding: str) -> Any:
    """Of an answer that is packed, None for one that is not. Raises Unavailable for a packing that
    we have not asked for."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(zlib.MAX_WBITS | 32)
    raise Unavailable("the answer is packed in a way that was not asked for", unsure=True)


def reason(response: httpx.Response) -> str:
    """What a server says in an answer that is no success."""
    return _words(response.content)


def unavailable(url: httpx.URL, error: httpx.HTTPError | ssl.SSLError) -> Unavailable:
    """What to raise instead of one of `FAILURES`."""
    reason = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
    if isinstance(error, httpx.RemoteProtocolError) and reason.startswith("illegal"):
        reason = "what it says is no HTTP" + "; is it https:// ?" * (url.scheme == "http")
    reason = clean(reason, _MOST_WORDS) or type(error).__name__
    words = f"{origin(url)} cannot be reached: {reason}"
    return Unavailable(words, unsure=not isinstance(error, _BEFORE_IT_WENT))


def header(text: str) -> str:
    """`text` as a header may carry it: what is not printable ASCII is percent-encoded."""
    return quote(text, safe=string.punctuation + " ")


def secret(folder: Path, place: str | None) -> str | None:
    """The secret in a file (relative to `folder`), without the line end; or, where `place` is
    `env:NAME`, in the environment. Raises Unavailable."""
    if place is None:
        return None
    if place.startswith(ENVIRONMENT):
        name = place.removeprefix(ENVIRONMENT)
        if not (found := os.environ.get(name, "").strip()):
            raise Unavailable(f"the secret cannot be read: {name} is not in the environment")
        return found
    try:
        return secretfile.text(folder / place)
    except OSError as error:
        raise Unavailable(
            f"{folder / place}: the secret cannot be read: {error.strerror}"
        ) from error


class Secret(secretfile.InUse[str | None]):
    """A secret in use. Raises Unavailable where there is none at first."""

    def __init__(self, folder: Path, place: str | None) -> None:
        super().__init__(str(place), partial(secret, folder, place), (Unavailable,))


class Credentials(httpx.Auth):
    """Puts a token, or a user's name and password, into each request. Where the server refuses it
    (401, 403), the secret is read again, and a new one is tried at once."""

    def __init__(self, token: Secret, username: str | None, password: Secret) -> None:
        self._secret = password if token.value is None else token
        self._username = None if token.value is not None else username

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        used = self._secret.value
        response = yield self._with(request, used)
        if response.status_code not in _REFUSED_US:
            return
        other = await asyncio.to_thread(self._secret.instead, used)
        if other is None:
            return
        response = yield self._with(request, other)
        if response.status_code in _REFUSED_US:
            self._secret.decline(other)
        else:
            self._secret.accept(other)

    def _with(self, request: httpx.Request, secret: str | None) -> httpx.Request:
        if self._username is None:
            request.headers["Authorization"] = f"Token {secret}"
        else:
            pair = f"{self._username}:{secret or ''}".encode()
            request.headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        return request


def _is_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r} does not begin with http://HOST or https://HOST")
    return text


Url = Annotated[str, AfterValidator(_is_url)]
"""A URL in a config."""


def origin(url: httpx.URL) -> str:
    """Scheme, host and port: what stands behind them in a webhook's URL is often a secret."""
    return f"{url.scheme}://{url.netloc.decode()}"


def _words(body: bytes) -> str:
    """The reason in an answer: InfluxDB's `error` or `message`, else the first of the text."""
    try:
        said = json_of(body)
    except Unavailable:
        said = None
    if isinstance(said, dict):
        for key in ("error", "message"):
            if isinstance(said.get(key), str):
                return clean(" ".join(said[key][:_BEGINS].split()), _MOST_WORDS)
    begins = body[:_BEGINS]
    try:
        # What was cut within a letter is no other encoding.
        text = codecs.getincrementaldecoder("utf-8")().decode(begins)
    except UnicodeDecodeError:
        text = begins.decode("gb18030", "replace")
    text = re.sub(r"<[^<>]*>", " ", text)
    return clean(" ".join(text.split())[:_MOST_WORDS]) or "nothing more"
