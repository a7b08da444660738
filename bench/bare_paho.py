"""What a bare loop over paho does with the same messages: decode, build lines, write; no ledger, no
check of anything. A process of its own: `python -m bench.bare_paho SESSION PORT URL MESSAGES`.

Prints the seconds from the connection to the last write's answer, and the CPU time of the process
in between.
"""

import json
import queue
import sys
import threading
import time
import zlib
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WRITERS: Final = 2
AT_ONCE: Final = 250
"""Messages in one write."""

UNACKED: Final = 1000


class Record(msgspec.Struct, gc=False):
    bn: str | None = None
    bt: float | None = None
    v: float | None = None
    t: float = 0.0
    q: int = 1


class Envelope(msgspec.Struct):
    gateway: str
    senml: list[Record]


_decode: Final = msgspec.json.Decoder(Envelope).decode


def lines(payload: bytes, put: list[str]) -> None:
    """The lines of one batch."""
    envelope = _decode(zlib.decompress(payload))
    base, head = 0.0, ""
    for record in envelope.senml:
        if record.bn is not None:
            gateway, site, sensor, quantity = record.bn.split("/")
            head = f"{quantity},gateway={gateway},sensor={sensor},site={site} value="
        if record.bt is not None:
            base = record.bt * 1000
        put.append(f"{head}{record.v!r},quality={record.q}i {round(base + record.t * 1000)}")


def main(session: str, port: str, url: str, messages: str) -> None:
    """Drain so many messages that wait for the session."""
    todo: queue.Queue[bytes | None] = queue.Queue(WRITERS)
    writers = [threading.Thread(target=_write, args=(url, todo)) for _ in range(WRITERS)]
    left, waiting, put = int(messages), 0, list[str]()

    def take(client: Client, userdata: Any, message: MQTTMessage) -> None:
        nonlocal left, waiting
        lines(bytes(message.payload), put)
        left, waiting = left - 1, waiting + 1
        if waiting == AT_ONCE or not left:
            todo.put("\n".join(put).encode())
            put.clear()
            waiting = 0
        if not left:
            client.disconnect()

    client = Client(CallbackAPIVersion.VERSION2, session, protocol=MQTTv5)
    client.on_message = take
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = UNACKED
    for writer in writers:
        writer.start()
    begin, cpu = time.monotonic(), time.process_time()
    client.connect("127.0.0.1", int(port), clean_start=False, properties=properties)
    client.loop_forever()
    for _ in writers:
        todo.put(None)
    for writer in writers:
        writer.join()
    took = {"took_s": time.monotonic() - begin, "cpu_s": time.process_time() - cpu}
    sys.stdout.write(json.dumps(took) + "\n")


def _write(url: str, todo: "queue.Queue[bytes | None]") -> None:
    where = urlsplit(url)
    line = HTTPConnection(str(where.hostname), where.port)
    while (body := todo.get()) is not None:
        line.request("POST", f"{where.path}?{where.query}", body)
        answer = line.getresponse()
        answer.read()
        if answer.status != 204:
            raise SystemExit(f"InfluxDB says {answer.status}")
    line.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
