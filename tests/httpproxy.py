"""A way to an HTTP server that answers in the server's place: what it refuses becomes a 500."""

from types import TracebackType

import httpx

from tests.httpserver import Answer, HttpServer, Request


class HttpProxy(HttpServer):
    """Leads to `target`. While `hides_refusals` is set every 4xx to a write becomes a 500."""

    def __init__(self, target: str) -> None:
        super().__init__(self._lead)
        self.hides_refusals = True
        self._client = httpx.Client(base_url=target, verify=False)

    def _lead(self, asked: Request) -> Answer:
        answer = self._client.request(asked.method, asked.path, content=asked.body)
        is_write = asked.path.startswith("/write")
        if self.hides_refusals and is_write and 400 <= answer.status_code < 500:
            return Answer(500, b'{"error": "internal error"}')
        return Answer(answer.status_code, answer.content, _versions(answer))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._client.close()


def _versions(answer: httpx.Response) -> dict[str, str]:
    """By what the server says which it is."""
    return {name: value for name, value in answer.headers.items() if name.startswith("x-influxdb")}
