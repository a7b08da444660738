"""HTTP as stores and channels use it: the one seam where its failures become ours."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
from pydantic import AfterValidator

from cloud.errors import Rejected, Unavailable

_REFUSED: Final = frozenset({400, 405, 406, 409, 410, 413, 414, 415, 422})
"""What a server says to a request that it will not take however often it comes."""


async def ask(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    accept: Collection[int] = (),
) -> httpx.Response:
    """The answer, if it says success or one of the codes in `accept`. Else raises Rejected or
    Unavailable, with the server's own words."""
    request = http.build_request(method, path, params=params, content=content, headers=headers)
    try:
        response = await http.send(request)
    except httpx.HTTPError as error:
        raise unavailable(request.url, error) from error
    if response.is_success or response.status_code in accept:
        return response
    text = f"{_origin(request.url)} says {response.status_code}: {_words(response.content)}"
    raise (Rejected if response.status_code in _REFUSED else Unavailable)(text)


def unavailable(url: httpx.URL, error: httpx.HTTPError) -> Unavailable:
    """What to raise instead of one of httpx's exceptions."""
    reason = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
    return Unavailable(f"{_origin(url)} cannot be reached: {reason or type(error).__name__}")


def secret(folder: Path, file: str | None) -> str | None:
    """The text in a secret's file, without the line end. Raises Unavailable."""
    if file is None:
        return None
    try:
        return (folder / file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{folder / file}: the secret cannot be read: {error}") from error


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


def _origin(url: httpx.URL) -> str:
    """Scheme, host and port: what stands behind them in a webhook's URL is often a secret."""
    return f"{url.scheme}://{url.netloc.decode()}"


def _words(body: bytes) -> str:
    """The reason in an answer: InfluxDB's `error` or `message`, else the first of the text."""
    try:
        said: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        said = None
    if isinstance(said, dict):
        for key in ("error", "message"):
            if isinstance(said.get(key), str):
                return str(said[key]).strip()
    return " ".join(body[:300].decode("utf-8", "replace").split()) or "nothing more"
