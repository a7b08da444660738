"""What each signal is tried on: by kind and variant a simulated device, and the tables that lead to
it. A signal in drivers/signals finds its stands in the function `<kind>_stands`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from firmware_sim.simulation import Bench
from wire import signing
from wire.aspect import Aspect

SITE = "underpass"

CHANNELS = {"green": [0], "amber": [1], "flashing_amber": [0, 2], "red": []}
ONE_EACH = {"green": [0], "amber": [1], "red": []}


@dataclass(frozen=True)
class Stand:
    """`sim` brings the device "x" to life, `port` is the table of the port that leads to it, and
    `table` the signal's own. Its own watchdog, if any, leaves `rest` behind. With one of `wrong`
    the table is at fault, with `unwelcome` the device refuses what it is asked. `spoil` makes
    nonsense of what the device sends. Its watchdog is that of its `twin`, if it has one."""

    sim: dict[str, Any]
    table: dict[str, Any]
    rest: Aspect
    wrong: Mapping[str, dict[str, Any]]
    unwelcome: dict[str, Any]
    spoil: Callable[[bytes], bytes]
    port: Callable[[Bench], dict[str, Any] | None] = lambda _: None
    files: Mapping[str, str] = field(default_factory=dict)
    twin: str = ""
    seen: Mapping[frozenset[int], Aspect] = field(default_factory=dict)


def has_stands(kind: str) -> bool:
    """Whether anybody has said what to try it on."""
    return f"{kind}_stands" in globals()


def stands(kind: str, broker_port: int = 0) -> dict[str, Stand]:
    """The stands of one kind, by variant."""
    make = globals().get(f"{kind}_stands")
    if make is None:
        pytest.fail(
            f"drivers/signals/{kind}.py has no simulated counterpart: add "
            f"firmware_sim/controllers/{kind}.py, or a device on a line, and {kind}_stands to "
            "tests/stands.py",
            pytrace=False,
        )
    found: dict[str, Stand] = make(broker_port)
    return found


def relay(sim: dict[str, Any], unit_profile: str, **table: Any) -> Stand:
    channels = table.setdefault("channels", ONE_EACH)
    pty = sim["kind"] == "pty"

    def port(bench: Bench) -> dict[str, Any]:
        if pty:
            return {"kind": "serial", "device": bench.terminal("bus")}
        host, number = bench.endpoint("bus")
        return {"kind": "tcp", "host": host, "port": number}

    return Stand(
        sim={"line": {"bus": sim}, "device": {"x": {"line": "bus", "profile": unit_profile}}},
        table={"port": "p", "profile": unit_profile, **table},
        rest=Aspect.RED,
        wrong={
            "at rest the board shows green": {"channels": {**channels, "green": [], "red": [3]}},
            "amber and green are the same": {"channels": {**channels, "amber": [0]}},
            "red is missing": {"channels": {"green": [0], "amber": []}},
        },
        unwelcome={"unit_id": 1, "profile": "sixteen", "channels": {**channels, "green": [15]}},
        spoil=(lambda frame: frame[:-1] + b"!")
        if pty
        else (lambda frame: frame[:7] + b"\x55" + frame[8:]),
        port=port,
        seen={frozenset(on): Aspect(name) for name, on in channels.items()},
        files={"profiles/sixteen.toml": SIXTEEN[unit_profile]},
    )


SIXTEEN = {
    "relay-waveshare-8ch": """
title = "a board that is larger than the one that is there"
source = "this test"
[outputs]
count = 16
pulse_on_address = 0x0300
""",
    "relay-laskakit-8ch": """
title = "a board that is larger than the one that is there"
source = "this test"
[outputs]
address = 1
count = 16
pulse_step_ms = 1000
[outputs.registers]
on = 0x0100
off = 0x0200
pulse = 0x0600
""",
}


def modbus_relay_stands(_: int) -> dict[str, Stand]:
    tcp = {"kind": "tcp", "port": 0}
    return {
        "coils": relay(
            {"kind": "pty", "link": "ttyBus", "baud": 9600, "answer_ms": 1},
            "relay-waveshare-8ch",
            channels=CHANNELS,
        ),
        "coil-pulses": relay(tcp, "relay-waveshare-8ch", hold="pulse", pulse_ms=600),
        "registers": relay(tcp, "relay-laskakit-8ch"),
        "register-pulses": relay(tcp, "relay-laskakit-8ch", hold="pulse", pulse_ms=1000),
    }


def udp_port(bench: Bench) -> dict[str, Any]:
    host, number = bench.endpoint("x")
    return {"kind": "udp", "host": host, "port": number}


def ntcip1202_stands(_: int) -> dict[str, Stand]:
    aspects: dict[str, Any] = {
        "green": {"special_functions": [1]},
        "flashing_amber": {"preempts": [2]},
        "amber": {},
        "red": {"preempts": [1]},
    }
    by_lamps = {name: calls for name, calls in aspects.items() if name != "flashing_amber"}
    controller = {
        "kind": "ntcip1202",
        "community": "lamp",
        "backup_time_s": 1,
        "preempts": ["red", "flashing_amber"],
        "special_functions": ["green"],
        "rest": "amber",
    }

    def stand(twin: str = "", **table: Any) -> Stand:
        table = {"backup_time_s": 1, "community": "lamp", "aspects": aspects, **table}
        own = table["aspects"]
        return Stand(
            sim={"controller": {"x": controller}},
            table={"port": "p", "within_ms": 250, **table},
            rest=Aspect.AMBER,
            wrong={
                "nothing is called and green shows": {
                    "aspects": {**own, "green": {}, "amber": {"preempts": [3]}}
                },
                "amber and green are the same": {"aspects": {**own, "amber": own["green"]}},
            },
            unwelcome={"aspects": {**own, "green": {"preempts": [9]}}},
            spoil=lambda datagram: datagram[:-2],
            port=udp_port,
            twin=twin,
        )

    return {
        "v2c": stand(),
        "v1": stand("v2c", version="1"),
        "phases": stand("v2c", read_back="phases", phases=[2, 6], aspects=by_lamps),
    }


def gbt20999_stands(_: int) -> dict[str, Stand]:
    def spoil(frame: bytes) -> bytes:
        return frame[:9] + bytes((frame[9] ^ 1,)) + frame[10:]

    def port(transport: str) -> Callable[[Bench], dict[str, Any]]:
        def table(bench: Bench) -> dict[str, Any]:
            if transport == "pty":
                return {"kind": "serial", "device": bench.terminal("x"), "baud": 19200}
            return {**udp_port(bench), "kind": transport}

        return table

    def stand(transport: str, controller: dict[str, Any], **table: Any) -> Stand:
        return Stand(
            sim={
                "controller": {
                    "x": {
                        "kind": "gbt20999",
                        "transport": transport,
                        "controller_id": 0x7E7D5C01,  # every byte of it to be escaped but one
                        "falls_back_after_s": 0.4,
                        **controller,
                    }
                }
            },
            table={
                "port": "p",
                "controller_id": 0x7E7D5C01,
                "within_ms": 250,
                "falls_back_after_s": 0.4,
                "second_path": "a float switch on the input for yellow flash",
                "commands": {"green": "cancel", "amber": "yellow_flash", "red": "all_red"},
                **table,
            },
            rest=Aspect.GREEN,
            wrong={
                "its own program, which is green": {"second_path": ""},
                "amber and green are the same": {
                    "commands": {"green": "cancel", "amber": "cancel", "red": "all_red"}
                },
            },
            unwelcome={"run_mode": "0D.03.02.00"},
            spoil=spoil,
            port=port(transport),
            twin="" if transport == "tcp" else "tcp",
        )

    other = {"checksum": "x1021-ffff", "length": "without_checksum"}
    return {
        "tcp": stand("tcp", {}),
        "udp": stand("udp", other, **other, command_by="run_mode"),
        "serial": stand("pty", {"link": "ttyX", "baud": 19200}),
    }


def mqtt_stands(broker_port: int) -> dict[str, Stand]:
    broker = {"port": broker_port}
    private, public = signing.generate()
    stranger, _ = signing.generate()
    lamp = f"lamp/{uuid4()}"
    topics = {"topic": f"{lamp}/lease", "shown_topic": f"{lamp}/shown"}
    return {
        "lease": Stand(
            sim={
                "controller": {
                    "x": {
                        "kind": "mqtt",
                        "broker": broker,
                        "site": SITE,
                        "keys": {"gw-1": public},
                        "longest_lease_s": 5,
                        **topics,
                    }
                }
            },
            table={
                "broker": broker,
                "key": "gw-1",
                "key_file": "lamp.key",
                "lease_s": 1.0,
                "within_ms": 300,
                **topics,
            },
            rest=Aspect.AMBER,
            wrong={
                "topic and shown_topic are the same": {"shown_topic": topics["topic"]},
                "key_file: is missing": {"key_file": None},
            },
            unwelcome={"key_file": "stranger.key"},
            spoil=lambda _: b'{"aspect": "purple"}',
            files={"lamp.key": private + "\n", "stranger.key": stranger},
        )
    }
