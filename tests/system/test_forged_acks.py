"""Somebody else writes acks at the broker, beside real traffic: nothing is lost."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from bench.counterpart import Counterpart
from edge.acks import NO_PROOF, Proof
from edge.batches import Draft
from edge.config import Gateway, Uplink
from edge.outbox import open_outbox
from edge.shelf import Priority
from edge.uplink import UplinkWorker
from tests.system.aggregator import Cloud
from tests.waiting import until
from wire import codec, keyfile, topics
from wire.messages import Ack
from wire.mqtt import Broker, Session, connect
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

UTC_MS = 1_750_000_000_000
KEYS = keyfile.parse(keyfile.make())
STRANGER = keyfile.parse(keyfile.make())

HOSTILE = (
    ((-1, 2**62),),
    ((0, 2**53),),
    ((1, 2**44 - 1),),
    ((1, 2**63),),
    ((1, 40),),
    ((21, 21),),
    ((40, 1),),
    tuple((number, number) for number in range(1, 41)),
)
"""Batches 1 to 20 have been sent and wait for an ack, 21 to 40 have not been sent."""


@asynccontextmanager
async def running(*coroutines):
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def reading(i: int) -> Reading:
    return Reading("s", "r", Quantity.DEPTH, i / 100, UTC_MS + 1000 * i, Quality.GOOD)


async def forge(session: Session, ack: Ack | bytes) -> None:
    payload = ack if isinstance(ack, bytes) else codec.encode(ack)
    await session.publish(topics.topic("0", "gw", What.ACK), payload)


@pytest.mark.parametrize("key", [False, True])
async def test_forged_acks_beside_real_traffic_lose_nothing(tmp_path, mosquitto, key):
    broker = Broker(port=mosquitto.port)
    counterpart = Counterpart(broker, "gw")
    counterpart.acknowledges = False
    counterpart.keys = KEYS if key else None
    settings = Uplink(
        broker=broker, status_every_s=0.2, backlog_kb_per_s=10_000, resend_after_s=0.5
    )
    proof = Proof(demanded=True, keys=KEYS) if key else NO_PROOF
    async with open_outbox(tmp_path / "o.db", "gw", "boot") as outbox:
        uplink = UplinkWorker(Gateway(id="gw", site="s"), settings, outbox, proof=proof)
        stream = outbox.position.stream
        for i in range(20):
            await outbox.seal([reading(i)])
        async with (
            running(counterpart.run(), uplink.run()),
            connect(broker, "attacker") as session,
        ):
            await until(lambda: len(counterpart.arrived) == 20)
            later = [Draft(Priority.ROUTINE, (reading(i),)) for i in range(20, 40)]
            await outbox.seal_all(later, local=True)  # not sent, for they have no date yet
            acks: list[Ack | bytes] = [
                json.dumps({"stream": stream, "batches": batches}).encode() for batches in HOSTILE
            ]
            acks += [Ack("another", ((1, 40),)), b"", b"\xff", b"[" * 100_000]
            if key:
                acks += [Ack(stream, ((1, 20),)), KEYS.prove(Ack(stream, ((1, 20),)), "gw-2")]
                acks += [STRANGER.prove(Ack(stream, ((1, 20),)), "gw")]
            for ack in acks:
                await forge(session, ack)
            real = Ack(stream, ((1, 1),))
            await forge(session, KEYS.prove(real, "gw") if key else real)  # the last of them
            await until(lambda: outbox.position.pending < 40)
            assert outbox.position.pending == 39
            assert uplink.acks.refused
            counterpart.acknowledges = True  # what has not been acked comes again
            await until(lambda: outbox.position.pending == 20)
            assert not uplink.acks.unproven


async def test_a_cloud_with_the_key_is_believed_and_without_it_is_not(tmp_path, mosquitto, caplog):
    broker = Broker(port=mosquitto.port)
    settings = Uplink(
        broker=broker, backlog_kb_per_s=10_000, resend_after_s=0.5, status_every_s=0.2
    )
    cloud = Cloud(
        tmp_path / "cloud", mosquitto, more='[gateway.gw]\nkey_file = "gw.key"\n[gateway.gw-2]\n'
    )
    key = keyfile.make()
    keyfile.write(cloud.folder / "gw.key", [key], cloud.file)
    proof = Proof(demanded=True, keys=keyfile.parse(key))
    async with (
        open_outbox(tmp_path / "1.db", "gw", "boot") as outbox,
        open_outbox(tmp_path / "2.db", "gw-2", "boot") as other_outbox,
    ):
        for one in (outbox, other_outbox):
            await one.seal([replace(reading(1), at_ms=time.time_ns() // 1_000_000)])
        uplink = UplinkWorker(Gateway(id="gw", site="s"), settings, outbox, proof=proof)
        other = UplinkWorker(Gateway(id="gw-2", site="s"), settings, other_outbox, proof=proof)
        with cloud:
            cloud.start()
            await cloud.listening()
            async with running(uplink.run(), other.run()):
                await until(lambda: outbox.position.pending == 0)
                await until(lambda: other.acks.refused)
                assert (uplink.acks.refused, uplink.acks.unproven) == (0, False)
                assert (other_outbox.position.pending, other.acks.unproven) == (1, True)
                assert "the cloud has no key of ours, or another one" in caplog.text

                async def named():
                    found = await cloud.account()
                    return [one for one in found.problems if "believes none of our acks" in one]

                await until(named)
                (problem,) = await named()
                assert problem.startswith("gw-2: ")
                new = keyfile.make()  # at the gateway first
                uplink.acks.proof = Proof(demanded=True, keys=keyfile.parse(new))
                await outbox.seal([replace(reading(2), at_ms=time.time_ns() // 1_000_000)])
                await until(lambda: uplink.acks.unproven)
                keyfile.write(cloud.folder / "gw.key", [new, key], cloud.file)
                await until(lambda: outbox.position.pending == 0)
