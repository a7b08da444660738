"""A port without a line: what comes back is what a function makes of each request."""

from collections.abc import Callable, Iterable

from drivers.errors import Unavailable
from drivers.ports import LineState, Received, Scan

Says = Callable[[bytes], Iterable[bytes]]


class AnsweringPort:
    """Each item that `says` gives arrives by itself; if none is the answer, there was silence."""

    name = "junction"
    framing, byte_s, gap_s = "tcp", 0.0, 0.0
    answered_at = answer_s = 0.0
    strays = 0

    def __init__(self, says: Says, *, datagrams: bool = True) -> None:
        self.says = says
        self.datagrams = datagrams
        self.asked: list[bytes] = []

    async def exchange(
        self,
        request: bytes,
        scan: Scan,
        *,
        answer_bytes: int,
        answer_within_s: float,
        late_s: float | None = None,
        begins: bytes = b"",
        urgent: bool = False,
        mistakable: bool = True,
    ) -> bytes:
        self.asked.append(request)
        received = Received()
        for piece in self.says(request):
            received += piece
            if (answer := scan(received)) is not None:
                return answer
        raise Unavailable(f"{self.name}: no answer")

    def free_at(self) -> float:
        return 0.0

    def give_up(self, why: str) -> None:
        """It answers at once or never."""

    def state(self) -> LineState:
        return LineState(True, None, "")

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""
