"""Lines that lead to devices. One file a kind; a port is owned by one program and one task."""

from typing import Literal, NamedTuple, Protocol

from configs.loader import Model

Baud = Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200]
"""Rates that devices of the field use."""


class PortConfig(Model):
    """What every port has: its kind, which is the name of the file that drives it, the time of a
    character and of the silence before a request in s, and the place where a person would look."""

    kind: str

    @property
    def byte_s(self) -> float:
        """Time of one character on the wire; 0 where there is no wire to wait for."""
        return 0.0

    @property
    def gap_s(self) -> float:
        """Silence that must precede a request."""
        return 0.0

    @property
    def open_within_s(self) -> float:
        """How long an attempt to open it may take; 0 where it is open at once."""
        return 0.0

    @property
    def answers_numbered(self) -> bool:
        """Whether an answer says which request it belongs to."""
        return False

    @property
    def place(self) -> str:
        """A device path, or host and port."""
        return ""


class Received(bytearray):
    """What has arrived since the request. `before` counts the bytes that came right before it,
    `strays` those before the answer that belong to nothing; `remark` says what came in place of an
    answer, for the case that none comes."""

    before: int = 0
    strays: int = 0
    remark: str = ""

    def renew(self, before: int) -> None:
        """Forget everything: a new request is sent."""
        self.clear()
        self.before, self.strays, self.remark = before, 0, ""


def drop_strays(received: bytearray, count: int) -> None:
    """Drop bytes that belong to nothing, and count them."""
    del received[:count]
    if isinstance(received, Received):
        received.strays += count


def right_before(received: bytearray) -> int:
    """How many bytes came right before the request."""
    return received.before if isinstance(received, Received) else 0


def remark(received: bytearray, text: str) -> None:
    """Note what came in place of the answer."""
    if isinstance(received, Received):
        received.remark = text


class Scan(Protocol):
    """Looks for an answer in what has arrived so far.

    Returns the answer once it is whole, None while more must come, and may drop from `received`
    what cannot belong to the answer. Raises BadReply for what no further byte can mend, Spoilt for
    what bytes that follow at once can mend.
    """

    def __call__(self, received: bytearray) -> bytes | None: ...


class LineState(NamedTuple):
    """Whether a line is open, since when (loop time; None: nobody has tried yet), and why it is
    not, if it should be."""

    is_open: bool
    since: float | None
    error: str


class Port(Protocol):
    """A half-duplex line: one request, one answer.

    `byte_s` is the time of one character on the wire, `gap_s` the silence that must precede a
    request; both are 0 where there is no wire to wait for. `framing` is how Modbus travels here.
    Where bytes come in `datagrams`, each of them is a whole message. Of the last answer,
    `answered_at` is when it was whole (loop time), `answer_s` how long the device took for it, and
    `strays` how many bytes that belong to nothing came before it.
    """

    name: str
    framing: str
    datagrams: bool
    byte_s: float
    gap_s: float
    answered_at: float
    answer_s: float
    strays: int

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
        """Send `request` and wait for its answer.

        Waits for `answer_within_s` plus the wire time of request and answer. Raises Unavailable
        (no answer in time; LineDown where there is no line; GivenUp) or BadReply (from `scan`).
        After each of these the line rests: an answer may still come until `late_s` after the end
        of the request (None: twice `answer_within_s`).

        `begins` are the bytes with which every answer to this request begins: one that begins
        otherwise cannot pass for it. An `urgent` request does not wait for the rest after requests
        whose answers begin otherwise; if one of those comes all the same, it is dropped, or costs
        this exchange. The answer to one that is not `mistakable` carries a number of its own, or
        nothing that anybody believes: it is never held back for what may come late.
        """
        ...

    def free_at(self) -> float:
        """Loop time from which the line does not rest, for requests that are not urgent."""
        ...

    def give_up(self, why: str) -> None:
        """End the wait of the exchange under way, if there is one, as if its time were over."""
        ...

    def state(self) -> LineState:
        """Whether there is a line to ask on."""
        ...

    async def open(self) -> None:
        """Open the line, if an exchange has not done so already. Raises Unavailable."""
        ...

    async def close(self) -> None:
        """Let go of the line. The next exchange would open it again."""
        ...
