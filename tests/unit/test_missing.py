"""What is missing is told from what is on its way: a gateway, its outbox and a cloud that forgets
nothing, and one from which something is stolen."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from cloud.ledger import Key, Stream
from cloud.missing import GRACE_MS, Judgement, Word, judge
from wire.messages import Gap
from wire.ranges import Intervals, Range

NOW = 1_700_000_000_000
A, B = Key("g", "a"), Key("g", "b")


@dataclass
class Gateway:
    """It seals, boots, sends in any order, and forgets what is acked."""

    streams: dict[Key, Stream] = field(default_factory=lambda: {A: Stream()})
    outbox: set[tuple[Key, int]] = field(default_factory=set)
    sealed: dict[Key, int] = field(default_factory=lambda: {A: 0})
    now: Key = A
    word: Word | None = None
    clock_ms: int = NOW

    def seal(self) -> None:
        self.sealed[self.now] += 1
        self.outbox.add((self.now, self.sealed[self.now]))

    def boot(self) -> None:
        self.now = Key("g", f"{len(self.sealed)}")
        self.sealed[self.now] = 0
        self.streams[self.now] = Stream()

    def send(self, which: int) -> None:
        """And it is stored, acked, forgotten."""
        if self.outbox:
            one = sorted(self.outbox)[which % len(self.outbox)]
            self.outbox.remove(one)
            self.streams[one[0]].accept(one[1], 10, self.clock_ms)

    def lose(self, which: int) -> None:
        """What must never happen."""
        if self.outbox:
            self.outbox.remove(sorted(self.outbox)[which % len(self.outbox)])

    def say(self) -> None:
        self.word = Word(self.now.stream, len(self.outbox), self.clock_ms)
        self.streams[self.now].expect(self.sealed[self.now], 10 * self.sealed[self.now])

    def judged(self, stood_ms: int) -> dict[Key, Judgement]:
        for stream in self.streams.values():
            stream.look_for_hole(self.clock_ms)
        return judge(self.streams, self.word, self.clock_ms + stood_ms)


steps = st.lists(st.tuples(st.sampled_from("sssssttttbw"), st.integers(0, 20)), max_size=60)


def play(gateway: Gateway, moves: list[tuple[str, int]]) -> None:
    for move, which in moves:
        gateway.clock_ms += 1
        match move:
            case "s":
                gateway.seal()
            case "t":
                gateway.send(which)
            case "b":
                gateway.boot()
            case "w":
                gateway.say()
            case "x":
                gateway.lose(which)


def numbers(ranges: list[Range]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(steps, st.sampled_from([0, GRACE_MS, 100 * GRACE_MS]))
def test_nothing_that_the_gateway_has_is_ever_called_missing(
    moves: list[tuple[str, int]], stood_ms: int
) -> None:
    gateway = Gateway()
    gateway.say()
    play(gateway, moves)
    for key, one in gateway.judged(stood_ms).items():
        assert one.missing == []
        assert numbers(one.on_the_way) == numbers(gateway.streams[key].missing)
        assert numbers(one.on_the_way) <= {n for at, n in gateway.outbox if at == key}


@given(
    st.lists(st.tuples(st.sampled_from("sssstttbwx"), st.integers(0, 20)), max_size=60),
    st.integers(0, 3),
)
def test_what_the_gateway_has_no_more_is_missing(moves: list[tuple[str, int]], left: int) -> None:
    gateway = Gateway()
    play(gateway, moves)
    gateway.say()
    holes = sum(len(numbers(one.missing)) for one in gateway.streams.values())
    lost = holes - len([1 for at, n in gateway.outbox if n in numbers(gateway.streams[at].missing)])
    judged = gateway.judged(GRACE_MS)
    missing = sum(len(numbers(one.missing)) for one in judged.values())
    assert missing <= lost
    while gateway.outbox:
        gateway.send(0)
    gateway.clock_ms += 1
    gateway.say()
    judged = gateway.judged(0)  # it says that it has nothing more: then there is no doubt
    for key, one in judged.items():
        assert one.missing == gateway.streams[key].missing
        assert one.on_the_way == []


def stream(received: list[int], sealed: int, since_ms: int | None = NOW) -> Stream:
    one = Stream(received=Intervals(received), sealed=sealed)
    one.look_for_hole(since_ms or NOW)
    return one


def test_what_exceeds_that_which_waits_is_missing_once_it_has_stood() -> None:
    streams = {A: stream([1, 2, 7, 9], 10)}
    word = Word("a", 2, NOW)
    young = judge(streams, word, NOW + GRACE_MS - 1)
    assert young == {A: Judgement([], [(3, 6), (8, 8), (10, 10)])}
    old = judge(streams, word, NOW + GRACE_MS)
    assert old == {A: Judgement([(3, 6)], [(8, 8), (10, 10)])}


def test_what_was_sealed_after_the_last_word_is_on_its_way() -> None:
    streams = {A: stream([1, 5], 2)}
    assert judge(streams, Word("a", 0, NOW), NOW) == {A: Judgement([(2, 2)], [(3, 4)])}
    # Of an older stream it has said all, of one that it has not named yet nothing.
    streams |= {B: stream([1], 1)}
    streams[A].first_at_ms = NOW - 1
    assert judge(streams, Word("b", 0, NOW), NOW)[A] == Judgement([(2, 4)], [])
    streams[A].first_at_ms = NOW
    assert judge(streams, Word("b", 0, NOW), NOW)[A] == Judgement([], [(2, 4)])


def test_without_a_word_a_hole_is_missing_once_it_has_stood() -> None:
    streams = {A: stream([1, 3], 0)}
    assert judge(streams, None, NOW) == {A: Judgement([], [(2, 2)])}
    assert judge(streams, None, NOW + GRACE_MS) == {A: Judgement([(2, 2)], [])}


def test_a_declared_loss_is_neither() -> None:
    one = stream([1, 3], 3)
    one.declare(Gap("disk full", 1, 2, 10, ((2, 2),)))
    one.look_for_hole(NOW)
    assert (one.hole, one.hole_since_ms) == (None, None)
    assert judge({A: one}, Word("a", 0, NOW), NOW) == {A: Judgement([], [])}


@given(st.lists(st.integers(1, 40)), st.lists(st.integers(1, 40)), st.integers(0, 50))
def test_the_hole_is_the_lowest_that_is_missing(
    received: list[int], lost: list[int], sealed: int
) -> None:
    one = Stream(received=Intervals(received), lost=Intervals(lost), sealed=sealed)
    one.look_for_hole(NOW)
    assert one.hole == (one.missing[0][0] if one.missing else None)
    since = one.hole_since_ms
    one.look_for_hole(NOW + 5)
    assert one.hole_since_ms == since
