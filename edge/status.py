"""How the gateway is, for `shuichi edge status` and for the metrics. Looks, and changes nothing."""

import os
import platform
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import msgspec

from edge import clock
from edge.health import State
from edge.poller import BusState
from edge.site import SiteInterlock
from edge.supervisor import PartState

if TYPE_CHECKING:
    from edge.agent import Agent

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Process(msgspec.Struct, frozen=True):
    """The program itself. `watchdog_waits_for`: loops that have not gone round since the watchdog
    was fed last; one that stays there hangs."""

    version: str
    python: str
    pid: int
    uptime_s: float
    memory_bytes: int
    watchdog_waits_for: tuple[str, ...]


class Clock(msgspec.Struct, frozen=True):
    """What time the gateway believes it is."""

    utc_ms: int
    trusted: bool


class Queue(msgspec.Struct, frozen=True):
    """What waits for the cloud. `pending` batches are on disk, by priority; `unsealed` readings are
    not yet; `lost` readings could not be kept: `docs/loss-contract.md`. While they are `in_memory`
    they do not survive the end of the process."""

    stream: str
    sealed: int
    readings_sealed: int
    pending: int
    pending_by_priority: dict[str, int]
    unsealed: int
    lost: int
    in_memory: bool = False


class Uplink(msgspec.Struct, frozen=True):
    """The connection. The cloud's ledger has `acked` batches of the stream, and said so last
    `last_ack_s` ago. `acks_refused` were not believed; they are `acks_unproven` while the cloud has
    no key of ours, or another one, and then nothing is deleted.

    `broker_said` is why there is no connection. `denied` are the topics that the broker does not
    take, with its reasons; `set_aside` batches are too large for it, or refused, and wait."""

    broker: str
    connected: bool
    in_flight: int
    acked: int
    last_ack_s: float | None
    acks_must_prove: bool = False
    acks_refused: int = 0
    acks_unproven: bool = False
    broker_said: str = ""
    denied: dict[str, str] = {}
    set_aside: int = 0


class Commands(msgspec.Struct, frozen=True):
    """Commands since the start: `taken`, `refused` with an answer, `dropped` without one."""

    taken: int
    refused: int
    dropped: int


class Lamp(msgspec.Struct, frozen=True):
    """A site's signal: what it should show, since when and why, and what it was seen to show."""

    site: str
    wanted: str
    confirmed: str | None
    since_s: float
    cause: str
    depth_m: float | None


class Status(msgspec.Struct, frozen=True):
    """All of it."""

    gateway: str
    process: Process
    clock: Clock
    queue: Queue
    uplink: Uplink
    buses: tuple[BusState, ...]
    lamps: tuple[Lamp, ...]
    commands: Commands
    parts: tuple[PartState, ...] = ()


def of(agent: "Agent") -> Status:
    """How `agent` is at this moment."""
    now = clock.monotonic()
    return Status(
        gateway=agent.setup.config.gateway.id,
        process=_process(agent, now),
        clock=Clock(utc_ms=agent.time.best_utc_ms(), trusted=agent.time.trusted),
        queue=_queue(agent),
        uplink=_uplink(agent, now),
        buses=tuple(line.bus.state() for line in agent.field.lines.values()),
        lamps=tuple(
            Lamp(
                site=name,
                wanted=site.state.wanted.value,
                confirmed=None if site.shows is None else site.shows.value,
                since_s=now - site.keeper.asked_at,
                cause=site.keeper.cause,
                depth_m=site.state.depth,
            )
            for name, site in agent.field.sites.items()
        ),
        commands=Commands(*agent.desk.counts),
        parts=agent.supervisor.states(),
    )


def line(agent: "Agent") -> str:
    """The gateway in one line."""
    sites = agent.field.sites.values()
    lamps = [
        f"{s.site} {s.state.wanted.value}{'' if _obeys(s) else ' (UNCONFIRMED)'}" for s in sites
    ]
    jobs = [job for line in agent.field.lines.values() for job in line.bus.jobs]
    mute = [job for job in jobs if job.health.breaker.state is not State.CLOSED]
    silent = len({name for job in mute for name in job.sensors.values()})
    link = "connected" if agent.uplink.connected else "no broker"
    if agent.uplink.broker.denied:
        link += ", which denies topics"
    if agent.uplink.acks.unproven:
        link += ", acks not proven"
    down = [part.name for part in agent.supervisor.states() if not part.running]
    parts = (
        *lamps,
        *([f"FAILED: {', '.join(down)}"] if down else ()),
        f"{silent} sensors silent",
        f"{agent.outbox.position.pending} batches wait",
        link,
    )
    return "; ".join(parts)


def _obeys(site: SiteInterlock) -> bool:
    return site.shows is site.state.wanted


@cache
def _version() -> str:
    return version("shuichi")


def memory_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


def _process(agent: "Agent", now: float) -> Process:
    return Process(
        version=_version(),
        python=platform.python_version(),
        pid=os.getpid(),
        uptime_s=now - agent.began_at,
        memory_bytes=memory_bytes(),
        watchdog_waits_for=tuple(agent.heartbeats.missing()),
    )


def _queue(agent: "Agent") -> Queue:
    position = agent.outbox.position
    return Queue(
        stream=position.stream,
        sealed=position.sealed,
        readings_sealed=position.readings_sealed,
        pending=position.pending,
        pending_by_priority=agent.outbox.pending_by_priority,
        unsealed=agent.sealer.unsealed,
        lost=agent.outbox.readings_lost + agent.sealer.lost_unsealed,
        in_memory=agent.outbox.in_memory,
    )


def _uplink(agent: "Agent", now: float) -> Uplink:
    uplink = agent.uplink
    return Uplink(
        broker=str(agent.setup.config.uplink.broker),
        connected=uplink.connected,
        in_flight=uplink.in_flight,
        acked=agent.outbox.acked,
        last_ack_s=None if uplink.acked_at is None else now - uplink.acked_at,
        acks_must_prove=uplink.acks.proof.demanded,
        acks_refused=uplink.acks.refused,
        acks_unproven=uplink.acks.unproven,
        broker_said=uplink.broker.said,
        denied=dict(uplink.broker.denied),
        set_aside=len(uplink.broker.aside),
    )
