"""The broker as we ship its configuration: who may write and read what, and be called what."""

import asyncio
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cloud.intake import filters
from configs import loader
from tests import services
from tests.certificates import Authority
from tests.services import Service
from tests.waiting import until
from wire import topics
from wire.mqtt import Broker, PublishRefused, Refused, Session, connect
from wire.topics import What

pytestmark = pytest.mark.xdist_group("template")  # they share a broker

DEPLOY = loader.HERE / "deploy"
USERS = {"gateways": ("g1", "g2", "operator"), "cloud": ("shuichi-cloud",)}
PAYLOAD = b"x"


class Template(Service):
    """mosquitto with the template; only ports and places are changed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.outer, inner = services.free_port(), services.free_port()
        self.authority = Authority(folder, "authority")
        files = self.authority.sign("server")
        text = (DEPLOY / "mosquitto.conf").read_text("utf-8")
        for before, after in (
            ("listener 8883", f"listener {self.outer} 127.0.0.1"),
            ("listener 1883 127.0.0.1", f"listener {inner} 127.0.0.1"),
            ("/var/lib/mosquitto/", f"{folder}/"),
            ("/etc/mosquitto/certs/server.pem", str(files.certificate)),
            ("/etc/mosquitto/certs/server.key", str(files.key)),
            ("/etc/mosquitto/shuichi-", f"{folder}/"),
        ):
            assert before in text
            text = text.replace(before, after)
        for name, users in USERS.items():
            acl = (DEPLOY / f"mosquitto-{name}.acl").read_text("utf-8")
            (folder / f"{name}.acl").write_text(acl)
            passwords = folder / f"{name}.passwd"
            passwords.write_text("".join(f"{user}:{user}'s\n" for user in users))
            hashing = [services.command("mosquitto_passwd"), "-U", str(passwords)]
            subprocess.run(hashing, check=True)
        for user in (one for users in USERS.values() for one in users):
            (folder / f"{user}.password").write_text(f"{user}'s")
        config = folder / "mosquitto.conf"
        config.write_text(f"user root\nlog_dest stdout\n{text}")
        command = [services.command("mosquitto"), "-c", str(config)]
        super().__init__(command, folder, inner, services._accepts)

    def broker(self, user: str, **changes: Any) -> Broker:
        password = self.folder / f"{user}.password"
        given: dict[str, Any] = {"username": user, "password_file": str(password)}
        if user == "shuichi-cloud":
            given |= {"port": self.port}
        else:
            given |= {"port": self.outer, "tls": True, "ca_file": str(self.authority.file)}
        return Broker(**given | changes)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory):
    with Template(tmp_path_factory.mktemp("template") / "broker") as running:
        yield running


class Listener:
    """Keeps what comes."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.heard: list[str] = []

    async def run(self) -> None:
        while True:
            for message in await self.session.take(100):
                self.heard.append(message.topic)
                self.session.ack(message)


async def may_write(session: Session, topic: str) -> bool:
    try:
        await session.publish(topic, PAYLOAD)
    except PublishRefused:
        return False
    return True


def of(gateway: str, what: What, shard: str = "0") -> str:
    return topics.topic(shard, gateway, what, "north" if what is What.INTERLOCK else None)


GATEWAYS = (What.DATA, What.EVENT, What.STATUS, What.REPLY, What.INTERLOCK)


async def test_each_may_write_what_is_its_own(template: Template) -> None:
    async with (
        connect(template.broker("g1"), "g1") as gateway,
        connect(template.broker("operator"), "shuichi-command-7") as operator,
        connect(template.broker("shuichi-cloud"), "shuichi-cloud-0") as cloud,
    ):
        for what in What:
            own = what in GATEWAYS
            assert await may_write(gateway, of("g1", what)) is own, what
            assert await may_write(gateway, of("g1", what, "north")) is own, what
            assert not await may_write(gateway, of("g2", what)), what
            assert await may_write(operator, of("g1", what)) is (what is What.COMMAND), what
            assert await may_write(cloud, of("g1", what)) is (what is What.ACK), what
        for topic in ("shuichi/v1/0/g1", "shuichi/v1/answer", "other", "shuichi/v2/0/g1/data"):
            assert not await may_write(gateway, topic), topic


async def test_each_reads_what_is_for_it(template: Template) -> None:
    async with AsyncExitStack() as stack:
        listeners = {}
        tasks = []
        for user in ("g1", "g2", "operator", "shuichi-cloud"):
            session = await stack.enter_async_context(connect(template.broker(user), f"{user}-x"))
            wanted = [*filters("0"), "shuichi/v1/answer"] if user == "shuichi-cloud" else ["#"]
            await session.subscribe(*wanted)
            listeners[user] = Listener(session)
            tasks.append(asyncio.create_task(listeners[user].run(), name=f"{user} listens"))
        try:
            for what in GATEWAYS:
                await listeners["g1"].session.publish(of("g1", what), PAYLOAD)
            await listeners["shuichi-cloud"].session.publish(of("g1", What.ACK), PAYLOAD)
            await listeners["operator"].session.publish(of("g1", What.COMMAND), PAYLOAD)
            # Last, one to each: what comes before it has come.
            await listeners["shuichi-cloud"].session.publish(of("g2", What.ACK), PAYLOAD)
            await listeners["g2"].session.publish(of("g2", What.REPLY), PAYLOAD)
            await listeners["g2"].session.publish(of("g2", What.STATUS), PAYLOAD)
            await until(lambda: of("g2", What.ACK) in listeners["g2"].heard)
            await until(lambda: of("g2", What.REPLY) in listeners["operator"].heard)
            await until(lambda: of("g2", What.STATUS) in listeners["shuichi-cloud"].heard)
            heard = {user: set(one.heard) for user, one in listeners.items()}
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    assert heard["g1"] == {of("g1", What.ACK), of("g1", What.COMMAND)}
    assert heard["g2"] == {of("g2", What.ACK)}
    reply = of("g2", What.REPLY)
    assert heard["operator"] == {of("g1", What.REPLY), of("g1", What.INTERLOCK), reply}
    taken_in = {of("g1", what) for what in GATEWAYS} - {of("g1", What.REPLY)}
    assert heard["shuichi-cloud"] == taken_in | {of("g2", What.STATUS)}


async def test_nobody_takes_the_session_of_another(template: Template) -> None:
    async with (
        connect(template.broker("shuichi-cloud"), "shuichi-cloud-0") as cloud,
        connect(template.broker("g2"), "g2") as other,
    ):
        for name in ("shuichi-cloud-0", "g2"):
            async with connect(template.broker("g1"), name) as thief:
                assert await may_write(thief, of("g1", What.DATA))
        assert await may_write(cloud, of("g1", What.ACK))  # still there
        assert await may_write(other, of("g2", What.DATA))


@pytest.mark.parametrize(
    ("user", "changes"),
    [
        ("shuichi-cloud", {"port": "outer", "tls": True}),
        ("g1", {"port": "inner", "tls": False, "ca_file": None}),
        ("operator", {"port": "inner", "tls": False, "ca_file": None}),
        ("g1", {"username": "g2"}),
        ("g1", {"username": None, "password_file": None}),
    ],
)
async def test_a_user_is_valid_at_its_own_door_with_its_own_password(
    template: Template, user: str, changes: dict[str, Any]
) -> None:
    ports = {"outer": template.outer, "inner": template.port}
    changes = {key: ports.get(value, value) for key, value in changes.items()}
    if changes.get("tls"):
        changes["ca_file"] = str(template.authority.file)
    with pytest.raises(Refused, match="refuses us as 'x'"):
        async with connect(template.broker(user, **changes), "x"):
            pass
