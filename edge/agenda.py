"""What a bus reads next. Pure: the time is handed in.

Sensors that feed an interlock come first, at once when they are due. All others have a little time:
a bus that wakes up for one of them reads all that have become due, because waking up costs more
than reading. The earliest deadline goes first. A device in doubt, whose last answer did not come,
is asked the same again and nothing else, so that an answer which comes later than anybody thought
still says what was asked. A silent one is only probed, so seldom that all of them together waste no
more than `DEAD_SHARE` of the bus, and at moments at which no ruler is due.

A silent ruler is another matter, for a signal waits for it: it is asked at its interval like one
that answers, as long as all silent rulers together waste no more than `RULER_SHARE` of the bus, and
nobody's moment is waited for. `edge.load` works out what that promises.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, Literal

from drivers.device import Device, Value
from drivers.profiles import Block, Profile
from drivers.protocols.modbus import READ_REQUEST_BYTES, read_answer_bytes
from edge.health import SILENT_AFTER, AnswerTimes, Breaker, State

DEAD_SHARE: Final = 0.04
"""Share of the bus that silent devices may waste together: what is promised is 5 %."""

LONE_SHARE: Final = 0.5
"""The same while nobody on the bus answers, who could suffer from it."""

RULER_SHARE: Final = 0.5
"""Share of the bus that silent rulers may waste together."""

SLACK: Final = 0.25
MOST_SLACK_S: Final = 0.25
"""A read that is not urgent may begin so much of its interval later, and so much at most: it waits
for the next multiple of that time, at which all buses of a gateway wake up."""

PROBE_PATIENCE_S: Final = 10.0
"""How long a probe waits for a moment at which it delays no ruler. Then it takes the next one."""


class Health:
    """What is known of one device, for all of its jobs. `doubted` is the job that was not answered
    last."""

    def __init__(self, device: Device) -> None:
        self.breaker = Breaker()
        self.times = AnswerTimes(device.profile.line.reply_within_s)
        self.jobs: list[Job] = []
        self.doubted: Job | None = None
        self.answered_at: float | None = None
        self.strays = 0

    @property
    def feeds_interlock(self) -> bool:
        """Whether one of its jobs is a ruler's."""
        return any(job.urgent for job in self.jobs)

    @property
    def is_well(self) -> bool:
        """Whether its last answer came."""
        return self.doubted is None and self.breaker.state is State.CLOSED


class Job:
    """One block of one device, to be read every `interval_s`; `urgent` if it feeds an interlock.

    `sensors` has the sensor of each of its measures, by the measure's key; without it all are of
    `sensor`, which stands for the job in messages.
    From `due` on it may be read, by `deadline` it should be (monotonic, s). `failures` are those in
    a row; `overruns` counts reads that began more than an interval late. `took_s` is the bus time
    of the last reads, smoothed; `cycle_s` the time between the last two.
    """

    def __init__(
        self,
        sensor: str,
        device: Device,
        block: Block,
        interval_s: float,
        *,
        urgent: bool,
        sensors: Mapping[str, str] | None = None,
    ) -> None:
        self.sensor = sensor
        self.sensors = sensors or {measure.key: sensor for measure in block.measures}
        self._places: dict[str, list[int]] = {}  # of a sensor's measures in the block
        for place, measure in enumerate(block.measures):
            self._places.setdefault(self.sensors[measure.key], []).append(place)
        self.device = device
        self.block = block
        self.interval_s = interval_s
        self.urgent = urgent
        self.slack_s = 0.0 if urgent else min(SLACK * interval_s, MOST_SLACK_S)
        self.health = Health(device)
        self.due = 0.0
        self.deadline = 0.0
        self.failures = 0
        self.overruns = 0
        self.refused = False
        self.took_s: float | None = None
        self.cycle_s: float | None = None
        self.answered_at: float | None = None
        frames = READ_REQUEST_BYTES + read_answer_bytes(block.words)
        self.wire_s = frames * device.port.byte_s
        self.place: Literal["nowhere", "due", "probes"] = "nowhere"
        self.ticket = 0

    @property
    def wait_s(self) -> float:
        """How long its answer is waited for now. A ruler's never shorter than its profile says: a
        hiccup of ours must not cost a reading that a signal waits for."""
        if self.urgent:
            return self.device.profile.line.reply_within_s
        return self.health.times.wait_s

    def is_as(self, other: "Job") -> bool:
        """Whether `other` would read the same in the same way."""
        return (
            (self.sensor, self.device.unit, self.interval_s, self.urgent)
            == (other.sensor, other.device.unit, other.interval_s, other.urgent)
            and (self.block, self.sensors) == (other.block, other.sensors)
            and self.device.profile == other.device.profile
        )

    def parts(self) -> "list[Job]":
        """Jobs for the same values, without the registers between them that none of them uses."""
        parts = []
        for block in self.block.apart():
            sensors = {measure.key: self.sensors[measure.key] for measure in block.measures}
            first = next(iter(sensors.values()))
            parts.append(
                Job(
                    first,
                    self.device,
                    block,
                    self.interval_s,
                    urgent=self.urgent,
                    sensors=sensors,
                )
            )
        return parts

    def shares(self, values: tuple[Value, ...]) -> list[tuple[str, tuple[Value, ...]]]:
        """The values of its measures, in their order, by the sensors that they belong to."""
        if len(self._places) == 1:
            return [(sensor, values) for sensor in self._places]
        return [
            (sensor, tuple([values[place] for place in places]))
            for sensor, places in self._places.items()
        ]


_Entry = tuple[float, int, Job]
"""Its deadline, a ticket, the job. It is void if the job has got another ticket since."""


class Agenda:
    """The jobs of one bus."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs: tuple[Job, ...] = ()
        self._members: set[Job] = set()
        self._urgent: list[_Entry] = []
        self._ordinary: list[_Entry] = []
        self._probes: dict[bool, deque[Job]] = {True: deque(), False: deque()}  # by urgency
        # By urgency: until when the last probe that failed kept the line, and for how long.
        self._wasted: dict[bool, tuple[float, float]] = {True: (0.0, 0.0), False: (0.0, 0.0)}
        self._tickets = 0
        self._apart: list[tuple[int, Profile, Block]] = []  # reads that a device refuses as a whole
        self._take(jobs)

    def start(self, now: float) -> None:
        """Rulers are read at once. The first reads of all others are spread over a second, so that
        they do not come in a heap."""
        self._wasted = {True: (now, 0.0), False: (now, 0.0)}
        self._spread(self.jobs, now)

    def change(self, jobs: Sequence[Job], now: float) -> None:
        """`jobs` from now on. Those that were there before go on as they are."""
        jobs = [part for job in jobs for part in self._whole_or_parts(job)]
        jobs = [next((old for old in self.jobs if old.is_as(job)), job) for job in jobs]
        new = [job for job in jobs if job not in self._members]
        self._take(jobs)
        for heap in (self._urgent, self._ordinary):
            heap[:] = [entry for entry in heap if entry[2] in self._members]
            heapify(heap)
        for probes in self._probes.values():
            for gone in [job for job in probes if job not in self._members]:
                probes.remove(gone)
        self._spread([*new, *(job for job in self._left_out() if job not in new)], now)

    def _left_out(self) -> Iterator[Job]:
        """Jobs of devices in doubt of which nothing would be asked again, because the job that was
        to be asked is gone."""
        for health in dict.fromkeys(job.health for job in self.jobs if not job.health.is_well):
            if health.doubted not in self._members:
                health.doubted = None
            if all(job.place == "nowhere" for job in health.jobs):
                yield from health.jobs

    def next(self, now: float, free_at: float) -> Job | None:
        """The job to be read now; the line rests until `free_at` for what is not urgent."""
        if (job := self._due(self._urgent, now)) is not None:
            return job
        if (job := self._probe(now, urgent=True)) is not None:
            return job
        if free_at > now:
            return None
        if (job := self._probe(now, urgent=False)) is not None:
            return job
        return self._due(self._ordinary, now)

    def wake_at(self, now: float, free_at: float) -> float:
        """When there may be something to do, if there is nothing now."""
        times = [math.inf]
        if (urgent := _first(self._urgent)) is not None:
            times.append(urgent.due)
        if (ordinary := _first(self._ordinary)) is not None:
            times.append(max(ordinary.deadline, free_at))
        if rulers := self._probes[True]:
            times.append(max(self._probe_from(urgent=True), min(job.due for job in rulers)))
        if others := self._probes[False]:
            ready = max(self._probe_from(urgent=False), min(job.due for job in others))
            times.append(max(ready, free_at) if ready > now else ready + PROBE_PATIENCE_S)
        return min(times)

    def answered(self, job: Job, now: float) -> None:
        """The device has answered this job."""
        if job not in self._members:
            return  # the config has changed meanwhile
        health = job.health
        if job.failures >= SILENT_AFTER:  # a probe has no time to keep
            job.due = now
        job.failures = 0
        if not health.is_well:
            # What has kept this one from answering may be over for the others too.
            self._wasted = {True: (now, 0.0), False: (now, 0.0)}
            health.doubted = None
            health.breaker.answer()
            for other in health.jobs:
                if other.place == "nowhere" and other is not job:
                    other.due = now
                    self._list(other)
        self._again(job, now)

    def failed(self, job: Job, began: float, now: float, free_at: float) -> None:
        """It has not. The line rests until `free_at` because of it."""
        if job not in self._members:
            return
        health, breaker = job.health, job.health.breaker
        over = max(now, free_at)
        job.failures += 1
        is_mute = job.failures > SILENT_AFTER and breaker.state is State.CLOSED
        if is_mute:  # a block that is never answered, of a device that does answer
            self._wasted[job.urgent] = (over, over - began)
            self._queue_probe(job, began)
            return
        health.doubted = job
        breaker.fail()
        if breaker.state is State.CLOSED:
            if job.urgent or not health.feeds_interlock:
                self._again(job, over)
            else:  # a ruler waits until this is answered
                job.due = over
                self._list(job)
            return
        self._wasted[job.urgent] = (over, over - began)
        for other in health.jobs:
            if other.place == "due":
                other.place = "nowhere"
        if not any(other.place == "probes" for other in health.jobs):
            jobs = [one for one in health.jobs if one.urgent] or health.jobs
            at = jobs.index(job) + 1 if job in jobs else 0
            self._queue_probe(jobs[at % len(jobs)], began)

    def split(self, job: Job, now: float) -> bool:
        """The device refuses the job as a whole: from now on ask for its parts, and never again for
        the registers between them. False if there are none."""
        if job not in self._members or len(job.block.apart()) == 1:
            return False
        self._apart.append((job.device.unit, job.device.profile, job.block))
        self.answered(job, now)
        self.change(self.jobs, now)
        return True

    def unread(self, job: Job, now: float) -> None:
        """The read was cut short, or there was no line: it has shown nothing."""
        if job not in self._members:
            return
        if job.health.breaker.state is State.PROBING:
            job.health.breaker.unprobed()
            self._queue_probe(job, now)
        else:
            self._again(job, now)

    def _whole_or_parts(self, job: Job) -> list[Job]:
        read = (job.device.unit, job.device.profile, job.block)
        return job.parts() if read in self._apart else [job]

    def _take(self, jobs: Sequence[Job]) -> None:
        # A job that is new may be of a device that is not.
        before = {job.device.unit: job for job in self.jobs}
        healths: dict[int, Health] = {}
        for job in jobs:
            old = before.get(job.device.unit)
            if old is not None and old.device.profile == job.device.profile:
                healths[job.device.unit] = old.health
            job.health = healths.setdefault(job.device.unit, job.health)
        self.jobs = tuple(jobs)
        self._members = set(jobs)
        for health in healths.values():
            health.jobs = [job for job in jobs if job.health is health]

    def _spread(self, jobs: Sequence[Job], now: float) -> None:
        for i, job in enumerate(jobs):
            spread_s = 0.0 if job.urgent else min(1.0, job.interval_s)
            job.due = now + spread_s * i / len(jobs)
            self._list(job)

    def _due(self, heap: list[_Entry], now: float) -> Job | None:
        while (job := _first(heap)) is not None and job.due <= now:
            heappop(heap)
            job.place = "nowhere"
            if job.health.doubted in (None, job):
                return job
        return None

    def _probe(self, now: float, *, urgent: bool) -> Job | None:
        if not (probes := self._probes[urgent]) or now < self._probe_from(urgent=urgent):
            return None
        for job in probes:
            if job.due <= now and (urgent or self._has_room(job, now)):
                probes.remove(job)
                job.place = "nowhere"
                if job.health.breaker.state is State.OPEN:
                    job.health.breaker.probe()
                return job
        return None

    def _has_room(self, probe: Job, now: float) -> bool:
        """Whether it would be over before a ruler is due, or has waited for that long enough."""
        if now >= max(self._probe_from(urgent=False), probe.due) + PROBE_PATIENCE_S:
            return True
        urgent = _first(self._urgent)
        return urgent is None or now + probe.wire_s + probe.wait_s <= urgent.due

    def _probe_from(self, *, urgent: bool) -> float:
        """When the next probe may begin, as the bus stands now."""
        over, cost_s = self._wasted[urgent]
        if urgent:
            share = RULER_SHARE
        else:
            healths: Iterable[Health] = dict.fromkeys(job.health for job in self.jobs)
            anybody = any(health.breaker.state is State.CLOSED for health in healths)
            share = DEAD_SHARE if anybody else LONE_SHARE
        return over + cost_s * (1 / share - 1)

    def _again(self, job: Job, now: float) -> None:
        job.due += job.interval_s
        if job.due < now:  # late: catch up in time, not in reads
            job.overruns += 1
            job.due = now
        self._list(job)

    def _list(self, job: Job) -> None:
        if job.failures >= SILENT_AFTER:
            self._queue_probe(job, job.due - job.interval_s if job.urgent else job.due)
            return
        self._tickets += 1
        job.place, job.ticket = "due", self._tickets
        job.deadline = job.due
        hurries = job.urgent or (job.health.doubted is job and job.health.feeds_interlock)
        if job.slack_s and not hurries:
            job.deadline = max(job.due, math.ceil(job.due / job.slack_s) * job.slack_s)
        heap = self._urgent if hurries else self._ordinary
        heappush(heap, (job.deadline, self._tickets, job))

    def _queue_probe(self, job: Job, began: float) -> None:
        """`began` is when it was last asked, or could have been."""
        job.due = began + job.interval_s
        if job.place != "probes":
            job.place = "probes"
            self._probes[job.urgent].append(job)


def _first(heap: list[_Entry]) -> Job | None:
    """The job at the front, without void entries."""
    while heap:
        _, ticket, job = heap[0]
        if job.place == "due" and job.ticket == ticket:
            return job
        heappop(heap)
    return None
