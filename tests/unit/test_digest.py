"""A flood of alerts becomes a few messages; alerts of one site become one incident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import digest, incident
from cloud.alerts.actions import CALLS, Kind, Send
from cloud.alerts.digest import Mailbox, Parcel
from cloud.alerts.hazard import Hazard, Stage
from wire.messages import Level

MIN = 60_000
BLUE, RED = Level.BLUE, Level.RED


def sends(alert="a", level=BLUE, kind=Kind.RAISE, at_ms=0, channels=("sms", "voice")):
    """What one step of an escalation tells one contact."""
    return [
        Send(
            alert, alert, Hazard.RIVER, level, Stage.NOW, 1, kind, "grid", "li", channel, 0,
            at_ms + 30_000 * place,
        )
        for place, channel in enumerate(channels)
    ]  # fmt: skip


def messages(parcels: list[Parcel]) -> list[str]:
    """What goes out, without regard to the channel."""
    return list(dict.fromkeys(parcel.key.rpartition("/")[0] for parcel in parcels))


class Post:
    """A mailbox and what has left it."""

    def __init__(self) -> None:
        self.box = Mailbox("li")
        self.out: list[Parcel] = []

    def post(self, at_ms, alert="a", level=BLUE, kind=Kind.RAISE, channels=("sms", "voice")):
        self.until(at_ms)
        given = sends(alert, level, kind, at_ms, channels)
        self.box, out = digest.post(self.box, given, at_ms, MIN)
        self.out += out
        return out

    def until(self, at_ms):
        while (due := digest.next_due_ms(self.box)) is not None and due <= at_ms:
            self.box, out = digest.due(self.box, due, MIN)
            self.out += out


def test_the_first_goes_at_once_as_it_is():
    post = Post()
    out = post.post(0)
    assert [(one.key, one.not_before_ms) for one in out] == [
        ("a/1/raise/grid/li/0/sms", 0),
        ("a/1/raise/grid/li/0/voice", 30_000),
    ]


def test_what_follows_within_a_minute_is_one_digest():
    post = Post()
    for second in range(50):
        post.post(second * 1000, f"a{second}")
    assert len(messages(post.out)) == 1
    post.until(MIN)
    assert messages(post.out)[1:] == ["digest/li/0"]
    assert {send.alert for send in post.out[-1].sends} == {f"a{n}" for n in range(1, 50)}
    assert post.box.held == ()


def test_the_first_red_does_not_wait_and_takes_the_rest_along():
    post = Post()
    post.post(0, "a")
    post.post(1000, "b")
    out = post.post(2000, "c", RED)
    assert {send.alert for send in out[0].sends} == {"b", "c"}
    assert post.post(3000, "d", RED) == ()


def test_the_news_that_a_red_is_over_waits_and_does_not_count_as_a_red_call():
    post = Post()
    post.post(0, "a", RED, Kind.CLEAR)
    assert post.post(1000, "b", RED, Kind.CLEAR) == ()
    assert post.post(2000, "c", RED) != ()


def test_a_call_that_is_answered_leaves_the_digest():
    post = Post()
    post.post(0, "a")
    post.post(1000, "b")
    post.post(2000, "c", kind=Kind.CLEAR)
    box = digest.withdraw(post.box, "b", 1, None)
    assert {send.alert for send in box.held} == {"c"}
    assert digest.withdraw(post.box, "b", 0, None) is post.box
    assert digest.withdraw(post.box, "b", 1, "village") is post.box
    assert digest.withdraw(post.box, "c", 1, None) is post.box  # an end is no call


def test_another_person_s_messages_are_refused():
    with pytest.raises(ValueError, match="not all of it is for"):
        digest.post(Mailbox("wang"), sends(), 0, MIN)


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
def test_a_flood_within_a_minute_is_three_messages_and_loses_nothing(flood, start):
    post = Post()
    flood = sorted(flood, key=lambda one: one[0])
    first = flood[0][0]
    for number, (at_ms, level, kind, channels) in enumerate(flood):
        post.post(start + at_ms, f"a{number}", level, kind, channels)
    post.until(start + first + 10 * MIN)
    assert len(messages(post.out)) <= 3
    told = [send.key for parcel in post.out for send in parcel.sends]
    assert len(told) == len(set(told)) == sum(len(channels) for *_, channels in flood)
    assert len({parcel.key for parcel in post.out}) == len(post.out)
    reds = [start + at for at, level, kind, _ in flood if level is RED and kind in CALLS]
    if reds:  # nobody waits for the first red call
        assert min(reds) == min(
            parcel.not_before_ms
            for parcel in post.out
            if any(send.level is RED and send.kind in CALLS for send in parcel.sends)
        )


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
