"""A real HTTP server for tests of channels: it knows who may speak to it, can be told to say no,
and keeps what it has taken."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tests.contract.telling import SECRET, TOKEN, Arrival, Mood


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = tuple[int, bytes]


@dataclass
class Sink:
    """An HTTP server: `take` tells what a request brings, `admit` whether it may."""

    take: Callable[[Request], Arrival]
    admit: Callable[[Request], bool]
    yes: Answer
    never: Answer
    again: Answer
    denied: Answer
    mood: Mood = Mood.YES
    requests: list[Request] = field(default_factory=list)
    arrived: list[Arrival] = field(default_factory=list)
    port: int = 0

    def be(self, mood: Mood) -> None:
        self.mood = mood

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if not self.admit(request):
            return self.denied
        match self.mood:
            case Mood.NEVER:
                return self.never
            case Mood.AGAIN:
                return self.again
            case Mood.NOT_JSON:
                return 200, b"<html>Please log in to the hotel's WiFi</html>"
            case Mood.OTHER_JSON:
                return 200, b'{"status":false,"errcode":"0","code":null,"result":[]}'
        self.arrived.append(self.take(request))
        return self.yes

    @contextmanager
    def running(self) -> Iterator["Sink"]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                url = urlsplit(self.path)
                code, body = sink.answer(
                    Request(
                        self.command,
                        url.path,
                        dict(parse_qsl(url.query)),
                        dict(self.headers.items()),
                        self.rfile.read(int(self.headers.get("Content-Length", 0))),
                    )
                )
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Not on the test's stderr."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def unread(_: Request) -> Arrival:
    return Arrival("", None)


def sink(take: Callable[[Request], Arrival] = unread, **parts: Any) -> Sink:
    plain: dict[str, Any] = {
        "admit": lambda _: True,
        "yes": (204, b""),
        "never": (400, f'{{"message":"no, {TOKEN} {SECRET}"}}'.encode()),
        "again": (503, b""),
        "denied": (401, f"{TOKEN} {SECRET}?".encode()),
    }
    return Sink(take, **plain | parts)
