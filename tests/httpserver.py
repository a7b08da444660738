"""A small HTTP server of a test, in a thread: what it answers is a function."""

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.services import HOST, free_port


class Request(NamedTuple):
    """`path` with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class HttpServer:
    """Listens at `url`, from entry to exit of the `with` block; with `tls` over https."""

    def __init__(
        self,
        answer: Callable[[Request], Answer],
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        port = port or free_port()
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{HOST}:{port}"
        self._connections: list[socket.socket] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                found = answer(Request(self.command, self.path, dict(self.headers), body))
                self.send_response_only(found.status)
                for name, value in found.headers.items():
                    self.send_header(name, value)
                if found.status != 204:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

            def setup(self) -> None:
                if tls is not None:  # here, in the thread of this connection
                    self.request = tls.wrap_socket(
                        self.request, server_side=True, do_handshake_on_connect=False
                    )
                super().setup()

            def handle(self) -> None:
                server._connections.append(self.connection)
                with suppress(OSError, ValueError):  # a client may be killed
                    super().handle()

            def finish(self) -> None:
                try:
                    super().finish()
                finally:
                    self.connection.close()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = False  # closed, it waits for the last of them
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def end_connections(self) -> None:
        """Those that clients keep open."""
        for one in self._connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self.end_connections()
        self._thread.join()
        self._server.server_close()
