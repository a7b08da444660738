"""TLS to a broker, as a gateway and as the cloud connect."""

import asyncio
import ssl
from datetime import timedelta
from functools import partial

import pytest

from tests import services
from tests.certificates import Authority
from tests.system.test_mqtt import ROOMS, take
from wire import mqtt
from wire.mqtt import Broker, Refused, Unreachable


@pytest.fixture(params=ROOMS.values(), ids=list(ROOMS))
def connect(request):
    return partial(mqtt.connect, room=request.param)


async def test_tls_is_believed_only_with_the_right_authority(tmp_path, connect):
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    good = ours.sign("good")
    broker = services.mosquitto(tmp_path / "broker")
    with (tmp_path / "broker" / "mosquitto.conf").open("a") as config:
        config.write(f"certfile {good.certificate}\nkeyfile {good.key}\n")
    with broker:
        trusting = Broker(port=broker.port, tls=True, ca_file=str(ours.file))
        async with connect(trusting, "probe") as probe:
            await probe.subscribe("a")
            await probe.publish("a", bytes(50_000))
            (echo,) = await probe.take(1)
            assert echo.payload == bytes(50_000)
            sent = [probe.send("a", b"%d" % i) for i in range(10)]  # several in one record of TLS
            assert [int(m.payload) for m in await take(probe, 10)] == list(range(10))
            assert all(await asyncio.gather(*sent))
        doubting = Broker(port=broker.port, tls=True, ca_file=str(theirs.file))
        with pytest.raises(Unreachable, match=r"not to be trusted: .*(issuer|self-signed)"):
            async with connect(doubting, "probe"):
                pass
        elsewhere = trusting.model_copy(update={"host": "localhost"})
        with pytest.raises(Unreachable, match="not to be trusted: Hostname mismatch"):
            async with connect(elsewhere, "probe"):
                pass
        absent = trusting.model_copy(update={"ca_file": str(tmp_path / "none")})
        with pytest.raises(Refused, match="No such file or directory"):
            async with connect(absent, "probe"):
                pass
        no_pem = trusting.model_copy(update={"ca_file": str(good.key)})
        with pytest.raises(Refused, match="holds no certificate"):
            async with connect(no_pem, "probe"):
                pass


async def test_an_expired_certificate_is_told(tmp_path, connect):
    ours = Authority(tmp_path, "ours")
    old = ours.sign("old", ended_ago=timedelta(hours=1))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*old)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="not to be trusted: certificate has expired"):
            async with connect(Broker(port=port, tls=True, ca_file=str(ours.file)), "probe"):
                pass
