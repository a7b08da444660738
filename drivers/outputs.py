"""The channels of a relay board, as its profile describes them."""

from typing import Annotated

from pydantic import Field, model_validator

from configs.loader import Model

Register = Annotated[int, Field(ge=0, le=0xFFFF)]


class OutputRegisters(Model):
    """A board whose channels are holding registers: the codes that are written (function 6) and
    those that are read back (function 3).

    `pulse` plus a number of `pulse_step_ms` switches on for so long; `pulse` alone ends it.
    """

    on: Register
    off: Register
    reads_on: Register = 1
    reads_off: Register = 0
    pulse: Register | None = None

    @model_validator(mode="after")
    def _tell_apart(self) -> "OutputRegisters":
        if self.on == self.off or self.reads_on == self.reads_off:
            raise ValueError("the codes for on and off are the same")
        return self


class Outputs(Model):
    """The channels of a relay board: coils, or with `registers` holding registers.

    `pulse_on_address` is the first of the coils that switch a channel on for value ×
    `pulse_step_ms` and then let it fall back: a watchdog in the relay itself.
    """

    address: Register = 0
    count: Annotated[int, Field(ge=1, le=64)]
    pulse_on_address: Register | None = None
    pulse_step_ms: Annotated[int, Field(ge=1)] = 100
    registers: OutputRegisters | None = None

    @property
    def longest_pulse_ms(self) -> int:
        """0 for a board that knows no pulses."""
        if self.registers is not None:
            return 0 if self.registers.pulse is None else 0xFF * self.pulse_step_ms
        return 0 if self.pulse_on_address is None else 0xFFFF * self.pulse_step_ms
