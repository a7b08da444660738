"""A way to an HTTP server that answers in the server's place: what it refuses becomes a 500."""

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx

from tests.services import HOST, free_port


class HttpProxy:
    """Listens at `url`, from entry to exit of the `with` block; leads to `target`. While
    `hides_refusals` is set every 4xx to a write becomes a 500."""

    def __init__(self, target: str) -> None:
        self.hides_refusals = True
        self.url = f"http://{HOST}:{(port := free_port())}"
        self._client = httpx.Client(base_url=target, verify=False)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = proxy._client.request(self.command, self.path, content=body)
                status, text = answer.status_code, answer.content
                if proxy.hides_refusals and self.path.startswith("/write") and 400 <= status < 500:
                    status, text = 500, b'{"error": "internal error"}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST

            def handle(self) -> None:
                with suppress(ConnectionError):  # a client may be killed
                    super().handle()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

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
        self._thread.join()
        self._server.server_close()
        self._client.close()
