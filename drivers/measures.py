"""One value in a device's registers: where it stands, how it is written, what it means in SI."""

import math
import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from configs.loader import Model
from drivers.errors import BadReply, Misconfigured
from drivers.outputs import Register
from wire.reading import UNITS, Quantity

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


class Measure(Model):
    """One value in a device's registers: value = (raw × scale + offset) in `unit`.

    `missing` lists register contents (all bits, no sign) that say "no sensor". `valid_min` and
    `valid_max` bound, in `unit`, what the device can truly report. `decimals_address` names a
    register that holds the number of decimals, `unit_address` one that holds a code for the unit,
    which `unit_codes` explains; both are read together with the value.

    A device with several inputs measures one quantity several times: each `[[measure]]` then names
    its `channel`. Where all channels are alike, one entry describes them: `channels = 8` are the
    channels 1 to 8, each `channel_step` registers (the value's own width, unless told otherwise)
    after the one before. What `decimals_address` and `unit_address` point to is common to them.
    """

    quantity: Quantity
    channel: Annotated[int, Field(ge=0, le=9999)] | None = None
    channels: Annotated[int, Field(ge=1, le=256)] | None = None
    channel_step: Annotated[int, Field(ge=1, le=1024)] | None = None
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
        if self.channel is not None and self.channels is not None:
            raise ValueError("channel and channels: one entry describes one channel, or all")
        if self.channel_step is not None and self.channels is None:
            raise ValueError("channel_step goes with channels")
        if self.channels is not None and self._step < self.words:
            raise ValueError(f"channel_step {self._step}: a {self.type} takes {self.words}")
        if self.scale == 0:
            raise ValueError("scale is 0: every reading would be the same")
        low, high = self.valid_range_si
        if low >= high:
            raise ValueError(f"valid_min {self.valid_min} is not below valid_max {self.valid_max}")
        last = self.address + ((self.channels or 1) - 1) * self._step
        if last + self.words > 0x10000:
            raise ValueError(f"a {self.type} at {last:#06x} ends beyond register 0xffff")
        bits = 16 * self.words
        if odd := [code for code in self.missing if not 0 <= code < 1 << bits]:
            raise ValueError(f"missing: {odd[0]} is not the content of {bits} bits, without a sign")
        return self

    @cached_property
    def words(self) -> int:
        """Registers that the value itself takes."""
        return 2 if self.type in ("u32", "i32", "f32", "sm32") else 1

    @property
    def key(self) -> str:
        """What it is called among the measures of its device: "depth", "level.3"."""
        if self.channel is None:
            return self.quantity.value
        return f"{self.quantity.value}.{self.channel}"

    @property
    def _step(self) -> int:
        return self.words if self.channel_step is None else self.channel_step

    def each_channel(self) -> "Iterator[Measure]":
        """One measure a channel; itself, where it describes no more."""
        if self.channels is None:
            yield self
            return
        for number in range(self.channels):
            place = {
                "channel": number + 1,
                "channels": None,
                "channel_step": None,
                "address": self.address + number * self._step,
            }
            yield self.model_copy(update=place)

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
        return significant((self._raw(bits) * scale + self.offset) * factor)

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
                raw = round(min(max(raw, -0xFFFFFF), 0xFFFFFF))
                bits = abs(raw) | (0x1000000 if raw < 0 else 0)
            case "metre_bcd_cm":
                metres, cm = divmod(round(min(max(raw, 0), 25599)), 100)
                bits = metres << 8 | cm // 10 << 4 | cm % 10
            case kind:
                span = 2 ** (16 * self.words)
                low = 0 if kind.startswith("u") else -span // 2
                # Clamped first: what no bound keeps in may be infinite.
                bits = round(min(max(raw, low), low + span - 1)) % span
        return _split(bits, self.words)


def _split(bits: int, words: int) -> list[int]:
    return [bits] if words == 1 else [bits >> 16, bits & 0xFFFF]


def significant(value: float) -> float:
    """`value` without the last digits, in which the error of a scale or a sum stands."""
    return float(f"{value:.{_SIGNIFICANT}g}")
