"""A device profile: the Modbus map of one kind of device, written in TOML.

A profile turns registers into SI values and back, so that the gateway's reads and the simulator's
answers come from the same page. `configs/profiles/` holds those that come with us; the docstrings
below are the reference for writing another one.
"""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from configs import loader
from configs.loader import Model
from drivers.measures import Measure
from drivers.outputs import Outputs, Register
from drivers.ports import Baud

MAX_REGISTERS: Final = 125
"""Registers in one read (Modbus Application Protocol V1.1b3, 6.3)."""

Unit = Annotated[int, Field(ge=0, le=255)]


class Line(Model):
    """The device's serial settings as it leaves the factory, and its manners.

    `answers_in_ms` is the usual time from the end of a request to the first byte of the answer,
    `reply_within_ms` the longest; `merge_gap` how many unused registers a merged read may span.

    After `reply_within_ms` an answer is given up. It may still come: `late_answers_ms` is the time
    from the end of the request after which it never does (twice `reply_within_ms` unless told
    otherwise). So long nothing is asked whose answer could be mistaken. A device that has ever been
    slower needs a higher figure here: no master can tell an RTU answer that comes later still.
    """

    unit_id: Unit = 1
    baud: Baud = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    answers_in_ms: Annotated[int, Field(ge=0, le=5000)] = 5
    reply_within_ms: Annotated[int, Field(ge=10, le=5000)] = 300
    late_answers_ms: Annotated[int, Field(ge=10, le=60000)] | None = None
    merge_gap: Annotated[int, Field(ge=0, le=64)] = 4
    max_registers: Annotated[int, Field(ge=1, le=MAX_REGISTERS)] = MAX_REGISTERS

    @model_validator(mode="after")
    def _late_is_late(self) -> "Line":
        if self.late_answers_ms is not None and self.late_answers_ms < self.reply_within_ms:
            raise ValueError(
                f"late_answers_ms {self.late_answers_ms} is below "
                f"reply_within_ms {self.reply_within_ms}"
            )
        return self

    @property
    def reply_within_s(self) -> float:
        """`reply_within_ms`, s."""
        return self.reply_within_ms / 1000

    @property
    def late_s(self) -> float:
        """`late_answers_ms`, s."""
        if self.late_answers_ms is None:
            return 2 * self.reply_within_s
        return self.late_answers_ms / 1000


class Example(Model):
    """Bytes from the datasheet, with their checksum.

    `values` gives what the reply means, in the measure's unit, by quantity; where the measure has a
    channel, by both: "level.3". For a relay, `does`
    says what the request is: "read_outputs", "switch" or "pulse_on", with `channel`, `on`,
    `pulses`; `outputs` are the channels that a reply to "read_outputs" shows as on.
    """

    request: str
    reply: str | None = None
    values: dict[str, float | None] = {}
    does: Literal["read", "read_outputs", "switch", "pulse_on"] = "read"
    channel: int = 0
    on: bool = True
    pulses: int = 0
    outputs: tuple[int, ...] | None = None
    note: str = ""


class Block(NamedTuple):
    """Neighbouring registers that one request reads."""

    function: int
    address: int
    words: int
    measures: tuple[Measure, ...]

    def apart(self) -> "tuple[Block, ...]":
        """The same values without the registers between them that none of them uses; only itself
        where there are none."""
        blocks: list[Block] = []
        for measure in sorted(self.measures, key=lambda m: min(m.addresses)):
            low, high = min(measure.addresses), max(measure.addresses) + 1
            if blocks and low <= (end := blocks[-1].address + blocks[-1].words):
                start, before = blocks[-1].address, blocks[-1].measures
                words = max(end, high) - start
                blocks[-1] = Block(self.function, start, words, (*before, measure))
            else:
                blocks.append(Block(self.function, low, high - low, (measure,)))
        return tuple(blocks)


class Profile(Model):
    """One kind of device.

    `uncertain` lists what nobody could confirm: check it on the device. `factory` gives settings
    registers (address → value) as the device leaves the factory.
    """

    title: str
    source: str
    uncertain: tuple[str, ...] = ()
    line: Line = Line()
    factory: dict[str, Register] = {}
    measure: tuple[Measure, ...] = ()
    outputs: Outputs | None = None
    example: tuple[Example, ...] = ()

    @property
    def settings(self) -> dict[int, int]:
        """`factory`, by address."""
        return {int(address, 0): value for address, value in self.factory.items()}

    @model_validator(mode="after")
    def _whole(self) -> "Profile":
        # An empty list is what the loader leaves of measures whose faults it has told.
        if "measure" not in self.model_fields_set and self.outputs is None:
            raise ValueError("has neither a [[measure]] nor [outputs]: nothing to read or switch")
        for address in self.factory:
            try:
                int(address, 0)
            except ValueError:
                raise ValueError(f"factory: {address!r} is not a register address") from None
        keys = [m.key for m in self.measure]
        most = self.line.max_registers
        for key, used in ((m.key, m.addresses) for m in self.measure):
            if keys.count(key) > 1:
                raise ValueError(f"measures {key} twice; give each of them a `channel`")
            if (span := max(used) - min(used) + 1) > most:
                raise ValueError(f"{key} needs {span} registers at once, at most {most} fit")
        for key in (key for example in self.example for key in example.values):
            if keys and key not in keys:
                raise ValueError(f"an example has a value for {key!r}, which is not measured")
        return self

    @field_validator("measure")
    @classmethod
    def _each_channel(cls, measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
        return tuple(one for measure in measures for one in measure.each_channel())

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels of the device, sorted; none where it is one sensor."""
        return tuple(sorted({m.channel for m in self.measure if m.channel is not None}))

    def blocks(self) -> tuple[Block, ...]:
        """The reads that fetch all measures: neighbours share one request."""
        return self.blocks_of(self.measure)

    def blocks_of(self, measures: Iterable[Measure]) -> tuple[Block, ...]:
        """The reads that fetch these of the measures.

        Two measures are neighbours if they use the same function and are no further apart than
        `line.merge_gap`; a read never exceeds `line.max_registers`.
        """
        blocks: list[Block] = []
        for measure in sorted(measures, key=lambda m: (m.function, min(m.addresses))):
            low, high = min(measure.addresses), max(measure.addresses) + 1
            if blocks:
                last = blocks[-1]
                start, end = last.address, max(last.address + last.words, high)
                if (
                    last.function == measure.function
                    and low - (last.address + last.words) <= self.line.merge_gap
                    and end - start <= self.line.max_registers
                ):
                    blocks[-1] = Block(last.function, start, end - start, (*last.measures, measure))
                    continue
            blocks.append(Block(measure.function, low, high - low, (measure,)))
        return tuple(blocks)


def find(name: str, folders: Sequence[Path] = ()) -> Profile:
    """The profile `<name>.toml`, from one of `folders` or from those that come with us.

    Raises ConfigError if there is none, or if it has faults.
    """
    for folder in (*folders, loader.HERE / "profiles"):
        file = folder / f"{name}.toml"
        with contextlib.suppress(OSError):  # a name that is too long for a file
            if file.is_file():
                return loader.load(file, Profile)
    names = available(folders)
    raise loader.ConfigError(
        f"{name}.toml",
        [
            loader.Fault(
                "",
                f"there is no such profile{loader.suggest(name, names)}; "
                f"there are: {', '.join(sorted(names))}",
            )
        ],
    )


def known(folders: Sequence[Path] = ()) -> tuple[dict[str, Profile], dict[str, loader.ConfigError]]:
    """All profiles by name, and the faults of those that cannot be used: one that is broken must
    not hide the others."""
    found: dict[str, Profile] = {}
    broken: dict[str, loader.ConfigError] = {}
    for name, file in sorted(available(folders).items()):
        try:
            found[name] = loader.load(file, Profile)
        except loader.ConfigError as error:
            broken[name] = error
    return found, broken


def available(folders: Sequence[Path] = ()) -> dict[str, Path]:
    """Profile files by name; a file in `folders` hides ours of the same name."""
    files = {f.stem: f for f in loader.library("profiles")}
    for folder in reversed(folders):
        files |= {f.stem: f for f in sorted(folder.glob("*.toml")) if f.is_file()}
    return files
