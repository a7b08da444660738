"""A gateway that is moved to another shard in mid-flow: nothing missing, nothing twice."""

import asyncio
import json
import subprocess

from firmware_sim.demo import programs
from tests.system.gateway import Gateway
from tests.waiting import PATIENCE_S
from wire import topics
from wire.mqtt import Broker, connect
from wire.topics import What

NAME = "yuzhong-underpass-01"


def shuichi(folder, *arguments):
    return subprocess.run(
        programs.shuichi(*arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )


def await_more(gateway):
    """Until some of what is measured from now on is stored."""
    stored = gateway.ledger().readings_ledgered
    gateway.until(lambda: gateway.ledger().readings_ledgered > stored + 5)


async def retained(broker, shard):
    """What stands retained of the gateway in a shard."""
    async with connect(broker, "look") as session:
        await session.subscribe(
            topics.topic(shard, NAME, What.STATUS), f"shuichi/v1/{shard}/{NAME}/interlock/+"
        )
        await session.subscribe("shuichi/look")
        await session.publish("shuichi/look", b"end")
        found: set[str] = set()
        while True:
            for message in await session.take(100):
                session.ack(message)
                if message.topic == "shuichi/look":
                    return found
                found.add(message.topic)


def test_a_gateway_moves_without_loss_and_stays_moved(tmp_path, mosquitto):
    folder = tmp_path / "line"
    with Gateway(folder, mosquitto.port, depth_m=0.2) as gateway:
        said = shuichi(folder, "command", "key", "ops-1")
        gateway.change({("command", "keys"): {"ops-1": said.stdout.split('"')[-2]}})
        cloud = (folder / "cloud.toml").read_text("utf-8")
        (folder / "cloud.toml").write_text(cloud.replace('shards = "0"', 'shards = "0-1"'))
        gateway.start("cloud")
        gateway.start("edge")
        gateway.until(lambda: "listening at" in gateway.log("cloud"))
        gateway.until(lambda: gateway.ledger().readings_ledgered > 10)

        wrong = shuichi(folder, "cloud", "rebalance", "--gateway", "nobody", "--to", "1")
        assert wrong.returncode == 2
        assert "has never said that it is there" in wrong.stderr
        shown = shuichi(folder, "cloud", "rebalance", "--json")
        (load,) = json.loads(shown.stdout)["loads"]
        assert (load["gateway"], load["shard"]) == (NAME, "0")

        order = ("cloud", "rebalance", "--gateway", NAME, "--to", "1", "--apply")
        done = shuichi(folder, *order, "--key", "ops-1")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-3:] == ["accepted", "applied", "confirmed"]
        await_more(gateway)
        (known,) = gateway.account()["gateways"]
        assert known["shard"] == "1"
        broker = Broker(port=mosquitto.port)
        gateway.until(lambda: json.loads((folder / "shard.json").read_text())["left"] == [])
        assert asyncio.run(retained(broker, "0")) == set()
        assert len(asyncio.run(retained(broker, "1"))) == 2

        gateway.kill("edge")
        gateway.start("edge")
        await_more(gateway)
        account = gateway.account()
        assert account["missing_batches"] == 0
        assert account["readings_in_store"] == account["readings_ledgered"]
        assert [one["shard"] for one in account["gateways"]] == ["1"]
