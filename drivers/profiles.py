"""A device profile: the Modbus map of one kind of device, written in TOML.

A profile turns registers into SI values and back, so that the gateway's reads and the simulator's
answers come from the same page. `configs/profiles/` holds those that come with us; the docstrings
below are the reference for writing another one.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from configs import loader
from configs.loader import Model
from drivers.errors import BadReply, Misconfigured
from drivers.outputs import Outputs, Register
from drivers.ports import Baud
from wire.reading import UNITS, Quantity

MAX_REGISTERS: Final = 125
"""Registers in one read (Modbus Application Protocol V1.1b3, 6.3)."""

WATER_METRES_PER_PASCAL: Final = 1 / 9806.65
"""Head of water for a pressure: conventional mmH2O (ISO 80000-4), 1000 kg/m3, 9.80665 m/s2."""

_TO_SI: Final[dict[str, dict[str, float]]] = {
    "m": {
        "m": 1.0,
        "dm": 0.1,
        "cm": 0.01,
        "mm": 0.001,
        "um": 1e-6,
        "mH2O": 1.0,
        "mmH2O": 0.001,
        "Pa": WATER_METRES_PER_PASCAL,
        "kPa": 1e3 * WATER_METRES_PER_PASCAL,
        "MPa": 1e6 * WATER_METRES_PER_PASCAL,
        "bar": 1e5 * WATER_METRES_PER_PASCAL,
    },
    "m/s": {"m/s": 1.0, "mm/h": 1 / 3.6e6, "mm/min": 1 / 6e4},
    "Hz": {"Hz": 1.0},
    "Cel": {"Cel": 1.0},
    "V": {"V": 1.0, "mV": 0.001},
}
"""Factor to SI by SI unit and unit on the device. Head of water counts as metres."""

_SIGNIFICANT: Final = 12
"""Digits kept of an SI value: 57 cm is 0.57 m, not 0.5700000000000001 m."""

Type = Literal["u16", "i16", "u32", "i32", "f32", "sm32", "metre_bcd_cm"]
"""u, i, f: unsigned, two's complement, IEEE 754. sm32: sign byte, then 24 bits of magnitude.
metre_bcd_cm: high byte whole metres, low byte centimetres in BCD; its raw value is in cm."""

_LARGEST_F32: Final = (2 - 2**-23) * 2.0**127

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


class Measure(Model):
    """One value in a device's registers: value = (raw × scale + offset) in `unit`.

    `missing` lists register contents (all bits, no sign) that say "no sensor". `valid_min` and
    `valid_max` bound, in `unit`, what the device can truly report. `decimals_address` names a
    register that holds the number of decimals, `unit_address` one that holds a code for the unit,
    which `unit_codes` explains; both are read together with the value.
    """

    quantity: Quantity
    function: Literal[3, 4] = 3
    address: Register
    type: Type = "u16"
    word_order: Literal["high_first", "low_first"] = "high_first"
    scale: float = 1.0
    offset: float = 0.0
    unit: str
    missing: tuple[int, ...] = ()
    valid_min: float | None = None
    valid_max: float | None = None
    decimals_address: Register | None = None
    unit_address: Register | None = None
    unit_codes: dict[str, str] = {}

    @model_validator(mode="after")
    def _units_fit(self) -> "Measure":
        known = _TO_SI[UNITS[self.quantity]]
        for unit in (self.unit, *self.unit_codes.values()):
            if unit not in known:
                raise ValueError(
                    f"unit {unit!r} does not measure {self.quantity.value}: "
                    f"use one of {', '.join(known)}"
                )
        if (self.unit_address is None) != (not self.unit_codes):
            raise ValueError("unit_address and unit_codes go together")
        if self.scale == 0:
            raise ValueError("scale is 0: every reading would be the same")
        low, high = self.valid_range_si
        if low >= high:
            raise ValueError(f"valid_min {self.valid_min} is not below valid_max {self.valid_max}")
        if self.address + self.words > 0x10000:
            raise ValueError(f"a {self.type} at {self.address:#06x} ends beyond register 0xffff")
        bits = 16 * self.words
        if odd := [code for code in self.missing if not 0 <= code < 1 << bits]:
            raise ValueError(f"missing: {odd[0]} is not the content of {bits} bits, without a sign")
        return self

    @cached_property
    def words(self) -> int:
        """Registers that the value itself takes."""
        return 2 if self.type in ("u32", "i32", "f32", "sm32") else 1

    @property
    def addresses(self) -> frozenset[int]:
        """All registers that must be read to know the value."""
        extra = {a for a in (self.decimals_address, self.unit_address) if a is not None}
        return frozenset(range(self.address, self.address + self.words)) | extra

    @property
    def valid_range_si(self) -> tuple[float, float]:
        """Lowest and highest true value, in SI; infinite where the profile says nothing."""
        factor = _TO_SI[UNITS[self.quantity]][self.unit]
        low = float("-inf") if self.valid_min is None else self.valid_min * factor
        high = float("inf") if self.valid_max is None else self.valid_max * factor
        return low, high

    def decode(self, registers: Mapping[int, int]) -> float | None:
        """SI value in `registers` (address → 16 bits), or None for one of the missing codes.

        Raises BadReply if the registers hold no value of the type, or an unknown unit code.
        """
        bits = registers[self.address]
        if self.words == 2:
            next_bits = registers[self.address + 1]
            low_first = self.word_order == "low_first"
            bits = next_bits << 16 | bits if low_first else bits << 16 | next_bits
        if bits in self.missing:
            return None
        scale, factor = self._plain or self._set(registers)
        return _significant((self._raw(bits) * scale + self.offset) * factor)

    def encode(
        self, value: float | None, registers: Mapping[int, int] = MappingProxyType({})
    ) -> dict[int, int]:
        """Registers that say `value` (SI; None: the first missing code), clamped to the type.

        `registers` holds the settings that `decimals_address` and `unit_address` point to.
        Raises Misconfigured for None where the device has no missing code.
        """
        if value is None:
            if not self.missing:
                raise Misconfigured(f"{self.quantity.value} has no code for a missing value")
            words = _split(self.missing[0], self.words)
        else:
            scale, factor = self._set(registers)
            words = self._words((value / factor - self.offset) / scale)
        if self.word_order == "low_first":
            words.reverse()
        return {self.address + i: word for i, word in enumerate(words)}

    @cached_property
    def _plain(self) -> tuple[float, float] | None:
        """Scale and factor to SI where no register changes them: worked out once."""
        if self.decimals_address is None and self.unit_address is None:
            return self._set({})
        return None

    def _set(self, registers: Mapping[int, int]) -> tuple[float, float]:
        """Scale and factor to SI, as the settings in `registers` have them."""
        scale, unit = self.scale, self.unit
        if self.decimals_address is not None:
            if (decimals := registers.get(self.decimals_address, 0)) > 9:
                raise BadReply(f"{decimals} decimals in register {self.decimals_address:#06x}")
            scale *= 10.0**-decimals
        if self.unit_address is not None and self.unit_address in registers:
            code = registers[self.unit_address]
            if (named := self.unit_codes.get(str(code))) is None:
                raise BadReply(f"unit code {code} in register {self.unit_address:#06x} is unknown")
            unit = named
        return scale, _TO_SI[UNITS[self.quantity]][unit]

    def _raw(self, bits: int) -> float:
        match self.type:
            case "u16" | "u32":
                return bits
            case "i16":
                return bits - (bits >> 15 << 16)
            case "i32":
                return bits - (bits >> 31 << 32)
            case "sm32":
                magnitude, sign = bits & 0xFFFFFF, bits >> 24
                if sign > 1:
                    raise BadReply(f"sign byte {sign:#04x} is neither 0 nor 1")
                return -magnitude if sign else magnitude
            case "metre_bcd_cm":
                tens, ones = bits >> 4 & 0xF, bits & 0xF
                if tens > 9 or ones > 9:
                    raise BadReply(f"low byte {bits & 0xFF:#04x} is not BCD")
                return (bits >> 8) * 100 + tens * 10 + ones
            case _:
                value: float
                (value,) = struct.unpack(">f", bits.to_bytes(4, "big"))
                if not math.isfinite(value):
                    raise BadReply("the float is not a finite number")
                return value

    def _words(self, raw: float) -> list[int]:
        match self.type:
            case "f32":
                raw = min(max(raw, -_LARGEST_F32), _LARGEST_F32)
                bits = int.from_bytes(struct.pack(">f", raw), "big")
            case "sm32":
                bits = min(round(abs(raw)), 0xFFFFFF) | (0x1000000 if round(raw) < 0 else 0)
            case "metre_bcd_cm":
                metres, cm = divmod(min(max(round(raw), 0), 25599), 100)
                bits = metres << 8 | cm // 10 << 4 | cm % 10
            case kind:
                span = 2 ** (16 * self.words)
                low = 0 if kind.startswith("u") else -span // 2
                bits = min(max(round(raw), low), low + span - 1) % span
        return _split(bits, self.words)


class Example(Model):
    """Bytes from the datasheet, with their checksum.

    `values` gives what the reply means, by quantity, in the measure's unit. For a relay, `does`
    says what the request is: "read_outputs", "switch" or "pulse_on", with `channel`, `on`,
    `pulses`; `outputs` are the channels that a reply to "read_outputs" shows as on.
    """

    request: str
    reply: str | None = None
    values: dict[Quantity, float | None] = {}
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
        quantities = [m.quantity for m in self.measure]
        most = self.line.max_registers
        for quantity, used in ((m.quantity, m.addresses) for m in self.measure):
            if quantities.count(quantity) > 1:
                raise ValueError(f"measures {quantity.value} twice")
            if (span := max(used) - min(used) + 1) > most:
                raise ValueError(f"{quantity} needs {span} registers at once, at most {most} fit")
        return self

    def blocks(self) -> tuple[Block, ...]:
        """The reads that fetch all measures: neighbours share one request.

        Two measures are neighbours if they use the same function and are no further apart than
        `line.merge_gap`; a read never exceeds `line.max_registers`.
        """
        blocks: list[Block] = []
        for measure in sorted(self.measure, key=lambda m: (m.function, min(m.addresses))):
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
        if (file := folder / f"{name}.toml").is_file():
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


def available(folders: Sequence[Path] = ()) -> dict[str, Path]:
    """Profile files by name; a file in `folders` hides ours of the same name."""
    files = {f.stem: f for f in loader.library("profiles")}
    for folder in reversed(folders):
        files |= {f.stem: f for f in sorted(folder.glob("*.toml"))}
    return files


def _split(bits: int, words: int) -> list[int]:
    return [bits] if words == 1 else [bits >> 16, bits & 0xFFFF]


def _significant(value: float) -> float:
    return float(f"{value:.{_SIGNIFICANT}g}")
