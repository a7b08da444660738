"""SNMP manager and agent, message by message. What Net-SNMP sends is its bytes, recorded."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, DriverError, Misconfigured, Unavailable
from drivers.protocols.snmp import Manager, Oid, Version
from firmware_sim import snmp
from tests.answering import AnsweringPort, Says

ASC: Oid = (1, 3, 6, 1, 4, 1, 1206, 4, 2, 1)
PREEMPT_1: Oid = (*ASC, 6, 3, 1, 2, 1)
PREEMPT_2: Oid = (*ASC, 6, 3, 1, 2, 2)
FUNCTION_1: Oid = (*ASC, 3, 14, 1, 3, 1)
REDS: Oid = (*ASC, 1, 4, 1, 2, 1)

# snmpset -v 2c -c lamp ... 1206.4.2.1.6.3.1.2.1 i 1 ...6.3.1.2.2 i 0 ...3.14.1.3.1 i 0
NET_SNMP_SET = bytes.fromhex(
    "305B02010104046C616D70A35002041E1AD048020100020100304230"
    "14060F2B060104018936040201060301020102010130"
    "14060F2B060104018936040201060301020202010030"
    "14060F2B060104018936040201030E0103010201" + "00"
)
NET_SNMP_SET_ANSWER = NET_SNMP_SET.replace(b"\xa3\x50", b"\xa2\x50")


class Agent(AnsweringPort):
    """Three objects that can be set, one that cannot, and the port that leads to them."""

    def __init__(self, says: Says | None = None) -> None:
        super().__init__(says or self.honest)
        self.objects: dict[Oid, int] = {PREEMPT_1: 0, PREEMPT_2: 0, FUNCTION_1: 1, REDS: 255}

    def get(self, oid: Oid) -> int | None:
        return self.objects.get(oid)

    def set(self, values: Mapping[Oid, int]) -> int:
        if values.keys() - self.objects.keys():
            return 11
        if REDS in values:
            return 17
        if not set(values.values()) <= {0, 1}:
            return 10
        self.objects.update(values)
        return 0

    def honest(self, request: bytes) -> list[bytes]:
        answer = snmp.answer(request, "lamp", self)
        return [] if answer is None else [answer]


def manager(agent: Agent, version: Version = "2c", community: str = "lamp") -> Manager:
    return Manager(agent, version=version, community=community, within_s=1.0)


@pytest.mark.parametrize("version", ["1", "2c"])
def test_what_is_set_can_be_read(version: Version) -> None:
    agent = Agent()

    async def run() -> dict[Oid, int]:
        await manager(agent, version).set({PREEMPT_1: 1, FUNCTION_1: 0})
        return await manager(agent, version).get([REDS, PREEMPT_1, PREEMPT_2, FUNCTION_1])

    assert asyncio.run(run()) == {REDS: 255, PREEMPT_1: 1, PREEMPT_2: 0, FUNCTION_1: 0}


def test_we_send_what_net_snmp_sends() -> None:
    agent = Agent()
    wanted = {PREEMPT_1: 1, PREEMPT_2: 0, FUNCTION_1: 0}
    asyncio.run(manager(agent).set(wanted))
    (ours,) = agent.asked
    # Only the request id differs, and with its length those of what contains it.
    id_bytes = ours[14]
    assert (ours[1], ours[12]) == (NET_SNMP_SET[1] - 4 + id_bytes, NET_SNMP_SET[12] - 4 + id_bytes)
    assert ours[2:12] == NET_SNMP_SET[2:12]
    assert ours[15 + id_bytes :] == NET_SNMP_SET[15 + 4 :]


def test_the_simulated_agent_answers_net_snmp_as_it_expects() -> None:
    agent = Agent()
    assert snmp.answer(NET_SNMP_SET, "lamp", agent) == NET_SNMP_SET_ANSWER
    assert agent.objects[PREEMPT_1] == 1
    assert agent.objects[FUNCTION_1] == 0
    assert snmp.answer(NET_SNMP_SET, "another", agent) is None


@pytest.mark.parametrize("version", ["1", "2c"])
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({(*ASC, 9, 9): 1}, "no such object"),
        ({PREEMPT_1: 7}, "does not take the value"),
        ({REDS: 1}, "no such object|lets nobody write it"),  # SNMPv1 has no word for the second
    ],
)
def test_a_set_that_is_refused_is_misconfigured(
    version: Version, values: dict[Oid, int], says: str
) -> None:
    agent = Agent()
    with pytest.raises(Misconfigured, match=rf"^junction: 1\.3\.6.*: the agent .*({says})"):
        asyncio.run(manager(agent, version).set({PREEMPT_2: 1, **values}))
    assert agent.objects[PREEMPT_2] == 0  # all or none


@pytest.mark.parametrize("version", ["1", "2c"])
def test_an_object_that_is_not_there_is_misconfigured(version: Version) -> None:
    with pytest.raises(Misconfigured, match=r"1206\.4\.2\.1\.9: the agent has no such object"):
        asyncio.run(manager(Agent(), version).get([REDS, (*ASC, 9)]))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (5, Unavailable),
        (13, Unavailable),
        (6, Misconfigured),
        (16, Misconfigured),
        (1, Misconfigured),
    ],
)
def test_an_error_is_final_or_may_pass(status: int, error: type[DriverError]) -> None:
    def fails(request: bytes) -> list[bytes]:
        (sound,) = agent.honest(request)
        at = sound.index(b"\x02\x01\x00\x02\x01\x00", 10)  # error status 0, error index 0
        return [sound[: at + 2] + bytes((status, 2, 1, 1)) + sound[at + 6 :]]

    agent = Agent(fails)
    with pytest.raises(error, match="junction: "):
        asyncio.run(manager(agent).set({PREEMPT_1: 1}))


def test_another_community_is_met_with_silence() -> None:
    with pytest.raises(Unavailable):
        asyncio.run(manager(Agent(), community="public").get([REDS]))


def test_late_answers_are_passed_over() -> None:
    """The answer to a request that was given up says 0; ours, which follows, says 255."""
    earlier: list[bytes] = []

    def late(request: bytes) -> list[bytes]:
        answers = [*earlier, *agent.honest(request)]
        earlier[:] = answers[-1:]
        return answers

    agent = Agent(late)
    asked = manager(agent)

    async def run() -> dict[Oid, int]:
        agent.objects[REDS] = 0
        assert await asked.get([REDS]) == {REDS: 0}
        agent.objects[REDS] = 255
        return await asked.get([REDS])

    assert asyncio.run(run()) == {REDS: 255}


def test_an_answer_for_other_objects_is_a_bad_reply() -> None:
    def astray(request: bytes) -> list[bytes]:
        return [
            answer.replace(b"\x01\x02\x01", b"\x01\x02\x02") for answer in agent.honest(request)
        ]

    agent = Agent(astray)
    with pytest.raises(BadReply, match="other objects"):
        asyncio.run(manager(agent).get([PREEMPT_1]))


@given(st.data())
def test_noise_is_one_of_our_errors_or_a_well_formed_answer(data: st.DataObject) -> None:
    """SNMP has no checksum of its own: a flipped value passes where UDP's did not see it."""

    def noisy(request: bytes) -> list[bytes]:
        (sound,) = agent.honest(request)
        torn = bytearray(sound)
        for at in data.draw(st.lists(st.integers(0, len(sound) - 1), min_size=1, max_size=3)):
            torn[at] = data.draw(st.integers(0, 255))
        return [bytes(torn[: data.draw(st.integers(0, len(torn)))])]

    agent = Agent(noisy)
    try:
        found = asyncio.run(manager(agent).get([REDS, PREEMPT_1]))
    except DriverError:
        return
    assert found.keys() == {REDS, PREEMPT_1}


@given(st.binary(max_size=60))
def test_the_agent_keeps_silent_at_noise(noise: bytes) -> None:
    assert snmp.answer(noise, "lamp", Agent()) is None
