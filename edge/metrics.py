"""The status as Prometheus reads it, answered over HTTP/1.1."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from configs import exposition
from configs.exposition import Family
from edge.poller import BusState, DeviceState
from edge.status import Status
from edge.supervisor import PartState
from wire.aspect import Aspect

PATH: Final = "/metrics"

_Of = TypeVar("_Of")


def respond(head: bytes, status: Status) -> bytes:
    """The HTTP response to a request with this head."""
    method, _, rest = head.decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if path != PATH:
        return _response("404 Not Found", f"metrics are at {PATH}\n")
    if method not in ("GET", "HEAD"):
        return _response("405 Method Not Allowed", "only GET\n")
    response = _response("200 OK", text(status))
    return response if method == "GET" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _response(result: str, body: str) -> bytes:
    content = body.encode()
    head = (
        f"HTTP/1.1 {result}\r\nContent-Type: {exposition.CONTENT_TYPE}\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content


def text(status: Status) -> str:
    """All metrics of a gateway."""
    return exposition.text(_families(status))


def _families(status: Status) -> Iterator[Family]:
    process = status.process
    about = {"gateway": status.gateway, "version": process.version, "python": process.python}
    yield Family("info", "gauge", "The gateway and what it runs.", [(about, 1)])
    for metric in _OF_GATEWAY:
        yield metric.of([({}, status)])
    waiting = status.queue.pending_by_priority
    yield Family(
        "outbox_pending_batches",
        "gauge",
        "Sealed and not acknowledged by the cloud.",
        [({"priority": name}, count) for name, count in waiting.items()],
    )
    parts = [({"part": part.name}, part) for part in status.parts]
    for of_part in _OF_PART:
        yield of_part.of(parts)
    for of_port in _OF_PORT:
        yield of_port.of([({"port": bus.port}, bus) for bus in status.buses])
    devices = [
        ({"port": bus.port, "sensor": device.sensor}, device)
        for bus in status.buses
        for device in bus.devices
    ]
    for of_device in _OF_DEVICE:
        yield of_device.of(devices)
    yield from _lamps(status)


def _lamps(status: Status) -> Iterator[Family]:
    for name, help in (
        ("wanted", "1 for the aspect that should show."),
        ("confirmed", "1 for the aspect that was read back."),
    ):
        yield Family(
            f"lamp_{name}",
            "gauge",
            help,
            [
                ({"site": lamp.site, "aspect": aspect.value}, getattr(lamp, name) == aspect.value)
                for lamp in status.lamps
                for aspect in Aspect
            ],
        )
    depths = [({"site": lamp.site}, lamp.depth_m) for lamp in status.lamps]
    yield Family("lamp_depth_meters", "gauge", "Highest depth of a healthy ruler.", depths)


class _Metric(NamedTuple, Generic[_Of]):
    name: str
    kind: str
    help: str
    value: Callable[[_Of], float | None]

    def of(self, things: Iterable[tuple[dict[str, str], _Of]]) -> Family:
        samples = [(labels, self.value(one)) for labels, one in things]
        return Family(self.name, self.kind, self.help, samples)


_OF_GATEWAY: Final[tuple[_Metric[Status], ...]] = (
    _Metric("uptime_seconds", "gauge", "Since the start.", lambda s: s.process.uptime_s),
    _Metric("memory_bytes", "gauge", "Resident memory.", lambda s: s.process.memory_bytes),
    _Metric("clock_trusted", "gauge", "1 if times are UTC.", lambda s: s.clock.trusted),
    _Metric("outbox_sealed_batches", "gauge", "Of this stream.", lambda s: s.queue.sealed),
    _Metric(
        "outbox_sealed_readings", "gauge", "Of this stream.", lambda s: s.queue.readings_sealed
    ),
    _Metric("outbox_unsealed_readings", "gauge", "In memory only.", lambda s: s.queue.unsealed),
    _Metric("outbox_lost_readings_total", "counter", "Could not be kept.", lambda s: s.queue.lost),
    _Metric("outbox_in_memory", "gauge", "1 if the disk refuses it.", lambda s: s.queue.in_memory),
    _Metric("uplink_connected", "gauge", "1 if a broker is there.", lambda s: s.uplink.connected),
    _Metric("uplink_in_flight_batches", "gauge", "Sent, no ack.", lambda s: s.uplink.in_flight),
    _Metric("uplink_last_ack_seconds", "gauge", "Since the last.", lambda s: s.uplink.last_ack_s),
    _Metric(
        "uplink_refused_acks_total",
        "counter",
        "Acks not believed.",
        lambda s: s.uplink.acks_refused,
    ),
    _Metric(
        "uplink_acks_unproven",
        "gauge",
        "1 while acks are not proven by the gateway's key.",
        lambda s: s.uplink.acks_unproven,
    ),
    _Metric("commands_taken_total", "counter", "Carried out.", lambda s: s.commands.taken),
    _Metric("commands_refused_total", "counter", "Answered so.", lambda s: s.commands.refused),
    _Metric(
        "commands_dropped_total", "counter", "Without an answer.", lambda s: s.commands.dropped
    ),
)
_OF_PART: Final[tuple[_Metric[PartState], ...]] = (
    _Metric("part_running", "gauge", "0 while it waits to start again.", lambda p: p.running),
    _Metric("part_failures_total", "counter", "Failures since the start.", lambda p: p.failures),
)
_OF_PORT: Final[tuple[_Metric[BusState], ...]] = (
    _Metric("port_busy_ratio", "gauge", "Of the last minute, 0 to 1.", lambda p: p.busy),
    _Metric("port_cycle_seconds", "gauge", "To read all that answer.", lambda p: p.cycle_s),
    _Metric("port_overruns_total", "counter", "Reads after their time.", lambda p: p.overruns),
)
_OF_DEVICE: Final[tuple[_Metric[DeviceState], ...]] = (
    _Metric("sensor_silent", "gauge", "1 if only probed.", lambda d: d.breaker != "closed"),
    _Metric("sensor_failed_reads_total", "counter", "Not believed.", lambda d: d.failed),
    _Metric("sensor_last_answer_seconds", "gauge", "Since then.", lambda d: d.answered_s),
    _Metric("sensor_answer_median_seconds", "gauge", "Last answers.", lambda d: d.median_s),
    _Metric("sensor_answer_p95_seconds", "gauge", "Last answers.", lambda d: d.p95_s),
    _Metric("sensor_wait_seconds", "gauge", "How long it is waited for.", lambda d: d.wait_s),
    _Metric("sensor_overruns_total", "counter", "Reads after their time.", lambda d: d.overruns),
)
