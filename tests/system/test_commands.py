"""A person's orders, from the keyboard over a real broker to the relay and back."""

import asyncio
import json
import re
import subprocess

import pytest
import tomlkit
from msgspec.structs import replace

from firmware_sim.demo import programs
from tests.system.gateway import Gateway
from tests.waiting import PATIENCE_S
from wire import codec, keyfile, signing, topics
from wire.aspect import Aspect
from wire.messages import Command, Outcome, Reply
from wire.mqtt import Broker, connect
from wire.topics import What

SITE = ["--gateway", "yuzhong-underpass-01", "--site", "daping-underpass"]


class Ops:
    """Somebody with a key, at a keyboard."""

    def __init__(self, folder):
        self.folder = folder

    def new_key(self, name):
        """What `shuichi command key` makes (see test_rebalance); the public half."""
        private, public = signing.generate()
        (self.folder / name).touch(0o600)
        (self.folder / name).write_text(private)
        return public

    def take_key_away(self):
        """The cloud has no key of the gateway any more."""
        document = tomlkit.parse((self.folder / "cloud.toml").read_text())
        del document["gateway"][SITE[1]]["key_file"]
        (self.folder / "cloud.toml").write_text(tomlkit.dumps(document))

    def order(self, action, *arguments, key="ops-1", **options):
        options = {"wait": PATIENCE_S} | options
        given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return self.run(action, *SITE, "--key", key, *given, *arguments)

    def run(self, *arguments):
        return subprocess.run(
            programs.shuichi("command", *arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )


@pytest.fixture
def ops(tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    return Ops(folder)


def gateway_for(ops, broker, depth_m):
    gateway = Gateway(ops.folder, broker.port, depth_m=depth_m)
    key = ops.new_key("ops-1")
    gateway.change({("command", "keys"): {"ops-1": key}})
    return gateway


def stays(gateway, aspect, depth_m):
    """Whether the lamp shows this over several readings of the same water."""
    (lamp,) = gateway.status()["lamps"]
    return (lamp["depth_m"], lamp["confirmed"]) == (depth_m, aspect) and lamp["since_s"] > 1


def stations(said):
    return [line.split(":")[0] for line in said.stdout.splitlines()]


def test_orders_are_followed_to_the_read_back(ops, mosquitto):
    with gateway_for(ops, mosquitto, 0.2) as gateway:
        gateway.change({("interlock", "daping-underpass", "hold_s"): 0})
        gateway.start("edge")
        gateway.until(lambda: gateway.lamp(Aspect.AMBER))
        raised = ops.order("raise", aspect="red")
        assert raised.returncode == 0, raised.stderr
        assert stations(raised) == ["accepted", "applied red", "confirmed red"]
        assert gateway.lamp(Aspect.RED)
        gateway.until((ops.folder / "raises.json").exists)
        gateway.kill("edge")
        gateway.start("edge")
        gateway.until(lambda: gateway.answers() and stays(gateway, "red", 0.2))
        lowered = ops.order("lower", aspect="green", person="Li Wei", minutes=1)
        assert stations(lowered)[-1] == "confirmed green"
        assert gateway.lamp(Aspect.GREEN)
        assert stations(ops.order("cancel"))[-1] == "confirmed amber"
        assert gateway.lamp(Aspect.AMBER)

        refused = ops.order("lower", aspect="green", minutes=1)
        assert refused.returncode == 1
        assert "refused: a lowering needs a person's name" in refused.stdout
        ops.new_key("stranger")
        ignored = ops.order("raise", key="stranger", aspect="red", wait=1)
        assert ignored.returncode == 1
        assert "no confirmation" in ignored.stderr

        gateway.kill("edge")
        gateway.start("edge")
        gateway.until(lambda: gateway.shown()[-1][1] is Aspect.AMBER)
        log = list(map(json.loads, (ops.folder / "events.jsonl").read_text().splitlines()))
    told = [e["detail"]["action"] for e in log if e["kind"] == "command_confirmed"]
    assert told == ["raise", "lower", "cancel"]
    (no,) = [e for e in log if e["kind"] == "command_refused"]
    assert no["detail"]["reason"] == "a lowering needs a person's name"
    assert "is not known here" in gateway.log("edge")


def test_a_latched_red_waits_for_a_person_even_over_a_power_cut(ops, mosquitto):
    with Gateway(ops.folder, mosquitto.port, depth_m=0.4) as gateway:
        gateway.change(
            {
                ("command", "keys"): {"ops-1": ops.new_key("ops-1")},
                ("interlock", "daping-underpass", "latch_red"): True,
                ("interlock", "daping-underpass", "hold_s"): 0,
                ("interlock", "daping-underpass", "jump_cm"): 0,
            }
        )
        ops.take_key_away()
        gateway.start("edge")
        gateway.until((ops.folder / "latches.json").exists)
        gateway.kill("edge")
        gateway.kill("sim")
        gateway.stand_at(0.05)  # the water sinks while the power is out
        gateway.begin()
        gateway.start("edge")
        gateway.until(gateway.answers)
        gateway.until(lambda: stays(gateway, "red", 0.05))
        cleared = ops.order("clear", person="Li Wei")
        assert cleared.returncode == 3, cleared.stderr  # gateway and cloud share no key
        assert stations(cleared)[-1] == "the broker says"
        # Red falls to amber first: whichever is seen.
        assert re.search("confirmed (amber|green) .not proven: no key of", cleared.stdout)
        gateway.until(lambda: gateway.lamp(Aspect.GREEN))


def test_what_a_person_must_mend_is_one_line(ops, mosquitto):
    gateway_for(ops, mosquitto, 0.0)  # its folder is enough
    mosquitto.stop()
    for said, complaint in (
        (ops.order("raise", aspect="red", key="no-key"), "--key no-key: No such file"),
        (ops.order("raise", aspect="red", key="cloud.toml"), "is not a private key"),
        (ops.run("key", "ops-1"), "exists already"),
        (ops.order("raise"), "Missing option '--aspect'"),
        (ops.order("raise", aspect="red"), "cannot be reached"),
    ):
        assert said.returncode == 2
        (line,) = said.stderr.splitlines()
        assert complaint in line


async def pretend(broker, payloads):
    """Answer each command at the broker with these, made from its id, while the gateway is dead."""
    gateway, answered = SITE[1], 0
    async with connect(broker, "attacker") as session:
        await session.subscribe(topics.topic("0", gateway, What.COMMAND))
        while True:
            for message in await session.take(10):
                session.ack(message)
                order = codec.decode(signing.opened(message.payload).body.encode(), Command)
                for payload in payloads(order):
                    await session.publish(topics.topic("0", gateway, What.REPLY), payload)
                answered += 1


def forged(order):
    """Junk of all kinds, another gateway's answer, a refusal, and a confirmation."""
    yield from (b"", b"\xff\xfe", b"{}", b"[" * 100_000, b"x" * 1_000_000, b"null", b'"x"')
    yield json.dumps({"command": order.id, "outcome": "confirmed", "at_ms": 2**53 + 1}).encode()
    yield json.dumps({"command": order.id, "outcome": "confirmed", "at_ms": "now"}).encode()
    yield json.dumps({"command": order.id, "outcome": "lost", "at_ms": 1}).encode()
    yield codec.encode(Reply("another", Outcome.CONFIRMED, 1, aspect=Aspect.RED))
    confirmed = Reply(order.id, Outcome.CONFIRMED, 1, "\x1b[2J\u202eok\n", Aspect.RED)
    stranger = keyfile.parse(keyfile.make())
    for reply in (
        Reply(order.id, Outcome.REFUSED, 1, "no", last=2**53),
        Reply(order.id, Outcome.ACCEPTED, 1),
        confirmed,
        replace(confirmed, mac="\u00e9"),
        stranger.prove(confirmed, SITE[1]),
        *[confirmed] * 50,
    ):
        yield codec.encode(reply)


@pytest.mark.parametrize("key", [False, True])
async def test_a_forged_reply_is_not_a_confirmation(ops, mosquitto, key):
    gateway = Gateway(ops.folder, mosquitto.port)
    ops.new_key("ops-1")
    gateway.change({("command", "keys"): {}})
    if not key:
        ops.take_key_away()
    liar = asyncio.create_task(pretend(Broker(port=mosquitto.port), forged))
    try:
        said = await asyncio.to_thread(ops.order, "lower", aspect="green", wait=5 if key else 60)
    finally:
        liar.cancel()
        await asyncio.wait((liar,))
    assert said.returncode == (3 if key else 1)  # without a key the first answer is the last
    lines = said.stdout.splitlines()
    assert lines
    assert all("not proven" in line for line in lines)
    assert len(lines) <= 10
    assert "Traceback" not in said.stderr
    assert not any(ord(one) < 32 or one == "\u202e" for line in lines for one in line)
