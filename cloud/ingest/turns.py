"""Whose message is next. Gateways take turns, so that one that sends much holds up itself alone."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from wire import topics
from wire.mqtt import Message

WAITING: Final = 1000
"""Messages that may wait for their turn."""

WAITING_BYTES: Final = 32 << 20
"""Bytes of payload that may wait."""

FAIR: Final = 32
"""Messages of one gateway that are left to wait whoever else waits, or `FAIR_BYTES` of payload."""

FAIR_BYTES: Final = 1 << 20

OWN_BYTES: Final = 8 << 20
"""Of one gateway that may wait, whoever else does: a window of the largest batches of an honest one
is less."""

PATIENCE_S: Final = 0.5
"""How long the oldest message of a gateway has waited when we are behind with it."""

ALONE: Final = 8
"""Messages in a take from a gateway that must not share one."""

CREDIT_S: Final = 1.0
"""CPU time that a gateway which was cheap so far may cost at once."""


_MOST_PAID: Final = 10_000


class _Waiting(NamedTuple):
    message: Message
    since: float


class _Queue:
    """The messages of one gateway, the oldest first."""

    __slots__ = ("size", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.size = 0


class Turns:
    """Messages that the broker has given us and nobody has decoded yet."""

    def __init__(self, share: float = 1.0) -> None:
        """`share`: of one core, what the messages of one gateway may cost; 1 is no limit."""
        self.count = 0
        self.size = 0
        self._share = share
        self._queues: dict[str, _Queue] = {}
        self._order: deque[str] = deque()  # those that have something, who is next first
        self._alone: dict[str, float] = {}
        self._paid_at: dict[str, float] = {}  # when its share has paid for what it has cost

    @property
    def is_full(self) -> bool:
        return self.count >= WAITING or self.size >= WAITING_BYTES

    def charge(self, gateway: str, cost_s: float, now: float) -> None:
        """What a gateway has sent has cost so much CPU time. One that costs more than its share has
        no turn until that is paid."""
        if self._share >= 1:
            return
        credit_since = now - CREDIT_S / self._share
        paid_at = max(self._paid_at.get(gateway, -math.inf), credit_since) + cost_s / self._share
        self._paid_at[gateway] = paid_at
        if len(self._paid_at) > _MOST_PAID:
            self._paid_at = {name: at for name, at in self._paid_at.items() if at > now}

    def is_ready(self, now: float) -> bool:
        """Whether anybody has a turn."""
        return any(not self._owes(name, now) for name in self._order)

    def put(self, messages: Iterable[Message], now: float) -> list[Message]:
        """Let `messages` wait, behind those that their gateways have sent before. Returns what is
        too much of one gateway, the oldest: of one that has cost more than its share that is soon
        so. We must go on reading, or the broker throws away what others send."""
        out: list[Message] = []
        for message in messages:
            name = gateway_of(message)
            if (queue := self._queues.get(name)) is None:
                queue = self._queues[name] = _Queue()
                self._order.append(name)
            queue.waiting.append(_Waiting(message, now))
            self._count(queue, message, 1)
            if self._owes(name, now):
                most, most_bytes = FAIR, FAIR_BYTES
            else:
                most, most_bytes = WAITING, OWN_BYTES
            while _messages(queue) > most or (queue.size > most_bytes and _messages(queue) > 1):
                out.append(queue.waiting.popleft().message)
                self._count(queue, out[-1], -1)
        return out

    def put_back(self, messages: Sequence[Message], now: float) -> None:
        """What was drawn and not used: it comes first again."""
        for message in reversed(messages):
            name = gateway_of(message)
            if (queue := self._queues.get(name)) is None:
                queue = self._queues[name] = _Queue()
                self._order.appendleft(name)
            queue.waiting.appendleft(_Waiting(message, now))
            self._count(queue, message, 1)

    def surplus(self, now: float) -> list[Message]:
        """What has no room, taken out: the oldest of the gateways that have the most, if we are
        behind with them. Empty where each has its fair share: then we read no more for now."""
        out: list[Message] = []
        while self.is_full:
            by_size = self.size >= WAITING_BYTES
            queue = max(self._queues.values(), key=_bytes if by_size else _messages)
            is_fair = queue.size <= 2 * FAIR_BYTES if by_size else _messages(queue) <= 2 * FAIR
            if is_fair or _messages(queue) < 2 or now - queue.waiting[0].since < PATIENCE_S:
                break
            number, size = _messages(queue) // 2, queue.size // 2
            while queue.size > size if by_size else _messages(queue) > number:
                out.append(queue.waiting.popleft().message)
                self._count(queue, out[-1], -1)
        return out

    def draw(self, limit: int, limit_bytes: int, now: float) -> list[Message]:
        """One message of each gateway in turn, again and again, up to both limits; the first
        whatever its size. A gateway that must be alone (`set_alone`) shares with no other, and one
        that has cost more than its share has no turn: then it may be none."""
        drawn: list[Message] = []
        room = limit_bytes
        passed: list[str] = []
        only = None
        while self._order and self._owes(self._order[0], now):
            passed.append(self._order.popleft())
        if self._alone and self._order and self._is_alone(self._order[0], now):
            only, limit = self._order[0], min(limit, ALONE)
        while self._order and len(drawn) < limit:
            name = self._order[0]
            if only is not None and name != only:
                break
            if (only is None and self._is_alone(name, now)) or self._owes(name, now):
                passed.append(self._order.popleft())
                continue
            queue = self._queues[name]
            room -= len(queue.waiting[0].message.payload)
            if room < 0 and drawn:
                break
            self._order.popleft()
            message = queue.waiting.popleft().message
            self._count(queue, message, -1)
            drawn.append(message)
            if not queue.waiting:
                del self._queues[name]
            elif only is None:
                self._order.append(name)
            else:
                self._order.appendleft(name)
        if only is not None and self._order and self._order[0] == only:
            self._order.rotate(-1)
        self._order.extendleft(reversed(passed))
        return drawn

    def set_alone(self, gateway: str, until: float) -> None:
        """What this gateway sends shares no take with what others send, until then."""
        self._alone[gateway] = until

    def _owes(self, name: str, now: float) -> bool:
        return (paid_at := self._paid_at.get(name)) is not None and paid_at > now

    def _is_alone(self, name: str, now: float) -> bool:
        if (until := self._alone.get(name)) is None:
            return False
        if now >= until:
            del self._alone[name]
            return False
        return True

    def _count(self, queue: _Queue, message: Message, by: int) -> None:
        size = by * len(message.payload)
        queue.size += size
        self.size += size
        self.count += by


def gateway_of(message: Message) -> str:
    """The gateway whose topic a message came on; "" for a topic that is not one of ours."""
    address = topics.parse(message.topic)
    return "" if address is None else address.gateway


def _messages(queue: _Queue) -> int:
    return len(queue.waiting)


def _bytes(queue: _Queue) -> int:
    return queue.size
