"""A flood of alerts becomes a few messages; alerts of one site become one incident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import digest, incident
from cloud.alerts.actions import FIRST_CALLS, Kind, Send, Way, Withdraw
from cloud.alerts.digest import Mailbox, Parcel
from cloud.alerts.hazard import Hazard, Stage
from wire.messages import Level

MIN = 60_000
BLUE, RED = Level.BLUE, Level.RED


def send(alert="a", level=BLUE, kind=Kind.RAISE, at_ms=0, channels=("sms", "voice")):
    """What one step of an escalation tells one contact."""
    ways = tuple(Way(channel, 30_000 * place) for place, channel in enumerate(channels))
    return Send(
        alert, alert, Hazard.RIVER, level, Stage.NOW, 1, kind, "grid", "li", 0, at_ms, ways
    )  # fmt: skip


def messages(parcels: list[Parcel]) -> list[str]:
    """What goes out, without regard to the channel."""
    return list(dict.fromkeys(parcel.key.rpartition("/")[0] for parcel in parcels))


class Post:
    """A mailbox and what has left it."""

    def __init__(self) -> None:
        self.box = Mailbox("li")
        self.kept: list[Send] = []
        self.out: list[Parcel] = []

    def post(self, at_ms, alert="a", level=BLUE, kind=Kind.RAISE, channels=("sms", "voice")):
        self.until(at_ms)
        given = [send(alert, level, kind, at_ms, channels)]
        if digest.opens(self.box, given, at_ms):
            return self.empty(at_ms, given)
        self.kept += given
        self.box = digest.keep(self.box, given, at_ms)
        return ()

    def until(self, at_ms):
        while (due := digest.next_due_ms(self.box)) is not None and due <= at_ms:
            self.empty(due)

    def empty(self, at_ms, given=()):
        box, messages, kept = digest.empty(self.box, self.kept, given, at_ms, MIN)
        out: list[Parcel] = []
        for message in messages:
            box, parcels = digest.parcels(box, message, at_ms)
            out += parcels
        self.box, self.kept = box, [*kept]
        self.out += out
        return out


def test_the_first_goes_at_once_as_it_is():
    post = Post()
    out = post.post(0)
    assert [(one.key, one.not_before_ms) for one in out] == [
        ("a/1/raise/grid/li/0/sms", 0),
        ("a/1/raise/grid/li/0/voice", 30_000),
    ]


def test_a_flood_without_red_is_a_call_and_one_digest():
    post = Post()
    for tenth in range(500):
        post.post(tenth * 100, f"a{tenth}")
    assert messages(post.out) == ["a0/1/raise/grid/li/0"]
    post.until(MIN)
    assert messages(post.out)[1:] == ["digest/li/0"]
    assert {one.alert for one in post.out[-1].sends} == {f"a{n}" for n in range(1, 500)}
    assert digest.next_due_ms(post.box) is None


def test_a_few_first_calls_go_out_whole_and_soon():
    post = Post()
    for number in range(4):
        post.post(number * 1000, f"a{number}", RED)
    post.until(MIN - 1)
    assert [(one.key[:2], one.not_before_ms) for one in post.out if one.channel == "sms"] == [
        ("a0", 0),
        ("a1", 1000 + digest.SETTLES_MS),
        ("a2", 1000 + digest.SETTLES_MS),
        ("a3", 1000 + digest.SETTLES_MS),
    ]


def test_a_call_that_comes_later_in_the_minute_does_not_wait_for_its_end():
    post = Post()
    post.post(0, "a")
    post.post(1000, "b")
    post.post(20_000, "c")
    post.until(MIN - 1)
    assert [one.not_before_ms for one in post.out if one.channel == "sms"] == [
        *(0, 1000 + digest.SETTLES_MS, 20_000 + digest.SETTLES_MS)
    ]


def test_what_asks_for_nothing_and_what_is_repeated_waits_for_the_digest():
    post = Post()
    post.post(0, "a", RED, Kind.CLEAR)
    for number, kind in enumerate((Kind.CLEAR, Kind.AGAIN, Kind.FALL, Kind.COPY)):
        assert post.post(1000 + number, f"b{number}", RED, kind) == ()
    assert post.post(2000, "c", RED) != ()  # by itself: the rest waits on
    assert [one.alert for one in post.out[-1].sends] == ["c"]
    post.until(MIN)
    assert {one.alert for one in post.out[-1].sends} == {"b0", "b1", "b2", "b3"}


def test_what_was_kept_and_withdrawn_goes_nowhere():
    post = Post()
    post.post(0)
    post.post(1000, "b", kind=Kind.AGAIN)
    post.kept = []
    post.until(10 * MIN)
    assert len(messages(post.out)) == 1


def test_a_withdrawal_means_the_calls_of_an_alert_up_to_a_round():
    call, end = send("a").part, send("a", kind=Kind.CLEAR).part
    assert Withdraw("a", 1).ends(call, "li")
    assert Withdraw("a", 2, "grid").ends(call, "li")
    assert not Withdraw("a", 0).ends(call, "li")
    assert not Withdraw("a", 1, "village").ends(call, "li")
    assert not Withdraw("b", 1).ends(call, "li")
    assert not Withdraw("a", 1).ends(end, "li")
    assert Withdraw("a", 1, contact="li").ends(call, "li")
    assert not Withdraw("a", 1, contact="li").ends(call, "wang")


def test_an_alert_that_rises_waits_for_nothing():
    post = Post()
    post.post(0, "a")
    assert post.post(100, "a", RED, Kind.RISE) != ()


def test_a_burst_of_red_calls_is_told_whole_within_seconds():
    post = Post()
    for number in range(50):
        post.post(number * 20, f"a{number}", RED if number % 2 else BLUE)
    post.until(digest.SETTLES_MS + 1000)
    assert messages(post.out) == ["a0/1/raise/grid/li/0", "digest/li/0"]
    assert {one.alert for parcel in post.out for one in parcel.sends} == {
        f"a{n}" for n in range(50)
    }


def test_a_flood_that_goes_on_is_three_messages():
    post = Post()
    for tenth in range(599):
        post.post(tenth * 100, f"a{tenth}", RED if tenth % 4 == 0 else BLUE)
    post.until(MIN)
    assert len(messages(post.out)) == 3
    assert len({one.alert for parcel in post.out for one in parcel.sends}) == 599


FLOOD = st.lists(
    st.tuples(
        st.integers(0, MIN - 1),
        st.sampled_from(Level),
        st.sampled_from(Kind),
        st.sampled_from([("sms",), ("voice", "sms")]),
    ),
    min_size=1,
    max_size=200,
)


@given(FLOOD, st.integers(0, 10 * MIN))
def test_whatever_comes_is_few_messages_and_none_of_it_is_lost(flood, start):
    post = Post()
    flood = sorted(flood, key=lambda one: one[0])
    first = flood[0][0]
    for number, (at_ms, level, kind, channels) in enumerate(flood):
        post.post(start + at_ms, f"a{number}", level, kind, channels)
    post.until(start + first + 10 * MIN)
    assert len(messages(post.out)) <= digest.MOST + MIN // digest.LONGEST_MS + 1
    told = [(one.key, parcel.channel) for parcel in post.out for one in parcel.sends]
    assert len(told) == len(set(told)) == sum(len(channels) for *_, channels in flood)
    assert len({parcel.key for parcel in post.out}) == len(post.out)
    calls = [start + at for at, _, kind, _ in flood if kind in FIRST_CALLS]
    if calls:  # nobody waits for the first call
        assert min(calls) == min(
            parcel.not_before_ms
            for parcel in post.out
            if any(one.kind in FIRST_CALLS for one in parcel.sends)
        )


@given(
    st.lists(
        st.tuples(st.integers(0, 4 * MIN), st.sampled_from(Level), st.sampled_from(Kind)),
        min_size=1,
        max_size=150,
    )
)
def test_no_red_call_waits_but_in_a_crowd(flood):
    post = Post()
    flood = sorted(flood, key=lambda one: one[0])
    for number, (at_ms, level, kind) in enumerate(flood):
        post.post(at_ms, f"a{number}", level, kind)
    post.until(20 * MIN)
    gone = {one.alert: parcel.not_before_ms for parcel in post.out[::-1] for one in parcel.sends}
    windows = [at_ms for at_ms, *_ in flood]
    for number, (at_ms, level, kind) in enumerate(flood):
        near = sum(at_ms - MIN <= other <= at_ms for other in windows)
        if level is RED and kind in FIRST_CALLS and near <= digest.CROWD:
            assert gone[f"a{number}"] - at_ms <= digest.LONGEST_MS


def test_alerts_of_a_site_that_come_together_are_one_incident():
    storm = incident.join(None, "north", "a", BLUE, 0)
    storm = incident.join(storm, "north", "b", RED, MIN)
    storm = incident.join(storm, "north", "b", BLUE, MIN)
    assert (storm.id, storm.alerts, storm.peak) == ("north.0", ("a", "b"), RED)
    assert incident.next_due_ms(storm) is None


def test_an_incident_stays_open_for_the_next_wave_and_no_longer():
    storm = incident.join(None, "north", "a", BLUE, 0)
    storm = incident.leave(storm, "a", 10 * MIN)
    assert incident.next_due_ms(storm) == 10 * MIN + incident.WINDOW_MS
    again = incident.join(storm, "north", "b", BLUE, 69 * MIN)
    assert again.id == storm.id
    assert incident.next_due_ms(again) is None
    assert incident.join(storm, "north", "b", BLUE, 70 * MIN).id != storm.id


def test_whatever_leaves_twice_leaves_once():
    storm = incident.join(None, "north", "a", BLUE, 0)
    gone = incident.leave(storm, "a", MIN)
    assert incident.leave(gone, "a", 2 * MIN) == gone
    assert incident.leave(storm, "b", MIN) == storm


def test_an_incident_belongs_to_one_site():
    storm = incident.join(None, "north", "a", BLUE, 0)
    with pytest.raises(ValueError, match="is at south"):
        incident.join(storm, "south", "b", BLUE, 0)
