"""The pace of a channel."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from cloud.channels import ChannelConfig, Message, Receipt, rate
from cloud.channels.running import Running
from tests import virtual
from tests.examples import examples


@given(
    st.integers(1, 200),
    st.lists(st.floats(0, 30), min_size=1, max_size=400),
)
def test_no_minute_ever_has_more_than_the_limit(limit, pauses):
    pace = rate.per_minute(limit)
    bucket, now, gone = rate.Bucket(pace.burst, 0.0), 0.0, []
    for pause in pauses:
        now += pause
        bucket, wait = rate.take(pace, bucket, now)
        if wait:
            now += wait + 1e-9  # as a clock that never wakes too early
            bucket, wait = rate.take(pace, bucket, now)
        if not wait:
            gone.append(now)
    for first in gone:
        assert sum(first <= at < first + 59.999 for at in gone) <= limit


@examples(30)
@given(st.integers(2, 200))
def test_a_queue_goes_at_three_quarters_of_the_limit_and_a_burst_at_once(limit):
    pace = rate.per_minute(limit)
    bucket, now = rate.Bucket(pace.burst, 0.0), 0.0
    for number in range(1, 10 * limit):
        bucket, wait = rate.take(pace, bucket, now)
        assert wait == 0 or number > limit // 4
        while wait:
            now += wait + 1e-9
            bucket, wait = rate.take(pace, bucket, now)
    assert now <= 10 * 60 / 0.7


def test_a_channel_keeps_its_pace_and_its_order():
    class Sink:
        def __init__(self):
            self.told = []

        async def send(self, message):
            self.told.append((message.key, asyncio.get_running_loop().time()))
            return Receipt()

    async def tell():
        sink = Sink()
        channel = Running(sink, ChannelConfig(kind="x", rate_per_minute=20), [])
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                message = Message(key=str(number), title="t", text="t", kind="raised", at_ms=0)
                group.create_task(channel.send(message), name=f"send {number}")
        return sink.told

    told = virtual.run(tell())
    assert [key for key, _ in told] == [str(number) for number in range(30)]
    begin = told[0][1]
    assert [at - begin for _, at in told[:5]] == [0] * 5
    assert 93 < told[-1][1] - begin < 95  # 25 at 16 a minute
