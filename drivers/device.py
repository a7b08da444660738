"""A device: a profile at an address on a port."""

from typing import NamedTuple

from drivers.errors import BadReply, Refused
from drivers.measures import Measure
from drivers.profiles import Block, Profile
from drivers.protocols.modbus import NO_SUCH_REGISTER, Master
from wire.reading import Quantity


class Value(NamedTuple):
    """What one measure said: SI, or None with the reason."""

    quantity: Quantity
    value: float | None
    reason: str = ""


class Device:
    """Reads a device as its profile says: once, without a retry, schedule or opinion."""

    def __init__(self, master: Master, profile: Profile, unit: int) -> None:
        self.profile = profile
        self.unit = unit
        self.port = master.port
        self._master = master

    async def read(
        self, block: Block, *, within_s: float | None = None, urgent: bool = False
    ) -> tuple[Value, ...]:
        """The measures of one block. Raises Unavailable, BadReply or Misconfigured.

        Waits for the answer for `within_s`, or as long as the profile allows. An `urgent` read
        does not wait for the rest after another device's silence.
        """
        line = self.profile.line
        try:
            words = await self._master.read_registers(
                self.unit,
                block.function,
                block.address,
                block.words,
                within_s=line.reply_within_s if within_s is None else within_s,
                late_s=line.late_s,
                urgent=urgent,
            )
        except Refused as error:
            if error.code != NO_SUCH_REGISTER or len(block.apart()) == 1:
                raise
            hint = f"; merge_gap = {line.merge_gap} reads registers along that no measure uses"
            raise Refused(f"{error}{hint}", error.code) from None
        registers = {block.address + i: word for i, word in enumerate(words)}
        return tuple([_value(measure, registers) for measure in block.measures])


def _value(measure: Measure, registers: dict[int, int]) -> Value:
    """A measure that makes no sense must not take its neighbours in the block with it."""
    try:
        value = measure.decode(registers)
    except BadReply as error:
        return Value(measure.quantity, None, str(error))
    return Value(measure.quantity, value, "" if value is not None else "the device has no value")
