"""What a signal controller's answers mean, case by case; tests/contract has the rest."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from configs import loader
from drivers import profiles
from drivers.errors import BadReply, DriverError, Misconfigured, Unavailable
from drivers.ports import Port
from drivers.protocols import gbt20999 as gbt
from drivers.protocols.gbt20999 import Dialect, Frame, Id, Kind, Value
from drivers.protocols.modbus import Master
from drivers.signals import Signal, Wiring
from firmware_sim import snmp
from tests.answering import AnsweringPort
from wire.aspect import Aspect

GREEN, AMBER, RED = Aspect.GREEN, Aspect.AMBER, Aspect.RED
ASC: tuple[int, ...] = (1, 3, 6, 1, 4, 1, 1206, 4, 2, 1)


@asynccontextmanager
async def opened(kind: str, port: Port, **table: Any) -> AsyncIterator[Signal]:
    config = loader.plugins("drivers.signals")[kind]
    made = loader.parse({"kind": kind, "port": "p", **table}, config, "test")
    wiring = Wiring("here", Path(), {"p": port}, {"p": Master(port)}, profiles.find)
    async with loader.plugin("drivers.signals", kind).open(made, wiring) as signal:
        yield signal


def seen(kind: str, port: Port, **table: Any) -> Aspect | None:
    async def run() -> Aspect | None:
        async with opened(kind, port, **table) as signal:
            return await signal.read_back()

    return asyncio.run(run())


# NTCIP 1202


class Agent(AnsweringPort):
    """unitBackupTime is 30; the rest as it is given."""

    def __init__(self, objects: dict[tuple[int, ...], int]) -> None:
        super().__init__(self._answer)
        self._objects = {(*ASC, 3, 3, 0): 30, **objects}

    def get(self, oid: tuple[int, ...]) -> int | None:
        return self._objects.get(oid)

    def set(self, _: object) -> int:
        return 0

    def _answer(self, request: bytes) -> Iterable[bytes]:
        answer = snmp.answer(request, "public", self)
        return [] if answer is None else [answer]


NTCIP = {
    "backup_time_s": 30,
    "aspects": {"green": {"special_functions": [3]}, "amber": {}, "red": {"preempts": [1]}},
}


def status(preempt: int, function: int) -> dict[tuple[int, ...], int]:
    return {(*ASC, 6, 2, 1, 16, 1): preempt, (*ASC, 3, 14, 1, 4, 3): function}


@pytest.mark.parametrize(
    ("preempt", "function", "aspect"),
    [
        (2, 0, AMBER),
        (2, 1, GREEN),
        (6, 0, RED),
        (6, 1, None),  # both at once is no aspect of ours
        (3, 0, None),  # called, not served yet
        (4, 0, None),  # on its way
        (5, 1, None),  # clearing the track
        (8, 1, None),  # on its way out
        (9, 0, None),  # given up: it has lasted too long
    ],
)
def test_a_preempt_counts_when_it_is_served(
    preempt: int, function: int, aspect: Aspect | None
) -> None:
    assert seen("ntcip1202", Agent(status(preempt, function)), **NTCIP) is aspect


def test_which_states_count_as_served_is_a_setting() -> None:
    agent = Agent(status(5, 0))
    assert seen("ntcip1202", agent, **NTCIP, preempt_active=[5, 6]) is RED


def test_a_special_function_that_is_neither_on_nor_off_is_a_bad_reply() -> None:
    with pytest.raises(BadReply, match=r"specialFunctionOutputStatus\.3 is 2"):
        seen("ntcip1202", Agent(status(2, 2)), **NTCIP)


def test_another_backup_time_than_the_configs_is_misconfigured() -> None:
    agent = Agent({**status(2, 1), (*ASC, 3, 3, 0): 300})
    with pytest.raises(Misconfigured, match=r"unitBackupTime is 300 s .* backup_time_s says 30"):
        seen("ntcip1202", agent, **NTCIP)


@pytest.mark.parametrize(
    ("reds", "yellows", "greens", "aspect"),
    [
        (0b1010_0010, 0, 0, None),  # phase 2 is red, phase 9 is dark
        (0xFF, 0, 0, RED),
        (0xFF, 0b10, 0, AMBER),
        (0b1101, 0b10, 0, AMBER),
        (0xFF, 0b10, 0b10, GREEN),  # a contradiction counts as the least restrictive
        (0xFF, 0b100, 0b100, RED),  # phase 3 is not watched
        (0, 0, 0, None),
    ],
)
def test_lamps_are_read_from_the_bits_of_the_phases(
    reds: int, yellows: int, greens: int, aspect: Aspect | None
) -> None:
    # Phases 2 and 9: bit 1 of the first group, bit 0 of the second, which is red with the first.
    second = {2: int(reds == 0xFF), 3: 0, 4: 0}
    first = {2: reds, 3: yellows, 4: greens}
    objects: dict[tuple[int, ...], int] = {}
    for group, columns in ((1, first), (2, second)):
        objects |= {(*ASC, 1, 4, 1, column, group): bits for column, bits in columns.items()}
    table = {**NTCIP, "read_back": "phases", "phases": [2, 9]}
    assert seen("ntcip1202", Agent(objects), **table) is aspect


# GB/T 20999-2017

GBT = {"second_path": "a float switch"}
RUN_MODE = Id(0x0D, 2, 2)


class Junction(AnsweringPort):
    """Answers a query with `content`, and with the frames before it that are given."""

    def __init__(self, content: bytes = b"\x21", before: Iterable[Frame] = (), **answer: Any):
        super().__init__(self._answer, datagrams=False)
        self._content = content
        self._before = tuple(before)
        self._changes = answer

    def _answer(self, request: bytes) -> Iterable[bytes]:
        body = gbt.take(bytearray(request), Dialect())
        assert body is not None
        asked = gbt.decode(body, Dialect())
        changes = {
            "kind": asked.kind + 0x10,
            "values": tuple(value._replace(content=self._content) for value in asked.values),
            **self._changes,
        }
        yield b"\x5c\x00"  # noise
        for frame in self._before:
            yield gbt.encode(frame, Dialect())
        yield gbt.encode(asked._replace(**changes), Dialect())


@pytest.mark.parametrize(
    ("mode", "aspect"),
    [
        (0x10, GREEN),
        (0x15, GREEN),
        (0x21, GREEN),
        (0x2F, GREEN),
        (0x31, Aspect.FLASHING_AMBER),
        (0x32, RED),
        (0x33, None),
        (0x30, None),
        (0x00, None),
        (0xFF, None),
    ],
)
def test_run_modes(mode: int, aspect: Aspect | None) -> None:
    assert seen("gbt20999", Junction(bytes((mode,))), **GBT) is aspect


def test_what_the_controller_says_unasked_or_late_is_passed_over() -> None:
    late = Frame(Kind.QUERY_ANSWER, 200, (Value(RUN_MODE, b"\x32"),))
    push = Frame(Kind.PUSH, 1, (Value(RUN_MODE, b"\x32"),))
    heartbeat = Frame(Kind.HEARTBEAT, 1)
    assert seen("gbt20999", Junction(b"\x21", [late, push, heartbeat]), **GBT) is GREEN


def test_each_question_has_a_sequence_of_its_own() -> None:
    port = Junction()

    async def run() -> None:
        async with opened("gbt20999", port, **GBT) as signal:
            for _ in range(300):
                await signal.read_back()

    asyncio.run(run())
    bodies = [gbt.take(bytearray(asked), Dialect()) for asked in port.asked]
    sequences = [gbt.decode(body, Dialect()).sequence for body in bodies if body is not None]
    assert sequences[:255] == list(range(1, 256))
    assert sequences[255:] == list(range(1, 46))


@pytest.mark.parametrize(
    ("port", "error", "says"),
    [
        (Junction(b"\x21\x31"), BadReply, "2 bytes of run mode.*element of this junction"),
        (Junction(b""), BadReply, "0 bytes of run mode"),
        (Junction(controller=7), BadReply, "controller 7 spoke, 1 was asked"),
        (Junction(values=()), BadReply, "answers for another value"),
        (Junction(values=(Value(Id(1, 1), b"\x21"),)), BadReply, "answers for another value"),
        (Junction(b"\x30", kind=Kind.QUERY_ERROR), Misconfigured, "refuses: no such value"),
        (Junction(b"\x50", kind=Kind.QUERY_ERROR), Unavailable, "refuses: control failed"),
        (Junction(b"\x99", kind=Kind.QUERY_ERROR), Misconfigured, "refuses: error 0x99"),
        (Junction(b"", kind=Kind.QUERY_ERROR), Unavailable, "refuses: failed"),
    ],
)
def test_answers_that_are_none(port: Junction, error: type[DriverError], says: str) -> None:
    with pytest.raises(error, match=says):
        seen("gbt20999", port, **GBT)


# Relay boards with registers


def relay_says(*words: int) -> AnsweringPort:
    def says(request: bytes) -> Iterable[bytes]:
        body = bytes((1, 3, 2 * len(words))) + b"".join(w.to_bytes(2, "big") for w in words)
        return [request[:4] + len(body).to_bytes(2, "big") + body]

    return AnsweringPort(says)


RELAY = {"profile": "relay-laskakit-8ch", "channels": {"green": [0], "amber": [1], "red": []}}


@pytest.mark.parametrize(
    ("lit", "aspect"),
    [((0,), GREEN), ((1,), AMBER), ((), RED), ((0, 1), None), ((1, 7), AMBER)],
)
def test_only_the_channels_that_an_aspect_uses_count(
    lit: tuple[int, ...], aspect: Aspect | None
) -> None:
    words = [int(channel in lit) for channel in range(8)]
    assert seen("modbus_relay", relay_says(*words), **RELAY) is aspect


def test_a_register_that_is_neither_on_nor_off_is_a_bad_reply() -> None:
    with pytest.raises(BadReply, match="unit 1: channel 2 reads 0x0101"):
        seen("modbus_relay", relay_says(0, 0, 0x0101, 0, 0, 0, 0, 0), **RELAY)
