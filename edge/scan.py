"""Who is on this line? Asks unit after unit, reads only, and compares with the profiles."""

from collections.abc import Mapping
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from configs.loader import UserError
from drivers.device import Device
from drivers.errors import BadReply, DriverError, Misconfigured, Unavailable
from drivers.ports import Port
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from wire.reading import UNITS


class Found(NamedTuple):
    """A unit that answered, the profiles that its answers fit (likeliest first), and what they
    read."""

    unit: int
    fits: list[str]
    reads: list[str]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return self._asdict()


def unit_ids(text: str, known: Mapping[str, Profile]) -> list[int]:
    """The unit ids in a text such as "1-20,51"; factory settings of known devices come first.

    Raises UserError for what is no list of 0..255.
    """
    units: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise UserError(f"--units {text!r}: {part!r} is not a number or a range") from None
        if not span or span.start < 0 or span.stop > 256:
            raise UserError(f"--units {text!r}: {part!r} is not within 0 to 255")
        units.update(span)
    usual = {profile.line.unit_id for profile in known.values()}
    return sorted(units & usual) + sorted(units - usual)


async def scan(
    port: Port, known: Mapping[str, Profile], units: list[int], wait_s: float, found: list[Found]
) -> None:
    """Add everybody on the line to `found`. Shows progress on stderr."""
    master = Master(port)
    console = Console(stderr=True)
    with Progress(
        TextColumn("asking unit {task.fields[unit]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[here]} found"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # it would print an empty line into a log
    ) as progress:
        task = progress.add_task("", total=len(units), unit=units[0], here=0)
        for unit in units:
            progress.update(task, unit=unit)
            if await _answers(master, unit, wait_s):
                found.append(await _identify(master, known, unit, wait_s))
            progress.update(task, advance=1, here=len(found))


async def _answers(master: Master, unit: int, wait_s: float) -> bool:
    """Whether anybody answers to this unit id, be it with an exception or in a garbled way."""
    try:
        await master.read_registers(unit, 3, 0, 1, within_s=wait_s)
    except Unavailable as error:
        return "exception" in str(error)
    except (BadReply, Misconfigured):
        return True
    return True


async def _identify(
    master: Master, known: Mapping[str, Profile], unit: int, wait_s: float
) -> Found:
    fits: list[tuple[int, str, str]] = []
    for name, profile in known.items():
        # A device that a person waits longer for may be slow under its own profile too.
        within_s = max(wait_s, profile.line.reply_within_s)
        try:
            reads = await _try(master, profile, unit, within_s)
        except DriverError:
            continue
        # Nothing but the factory's unit id and a value in range can tell registers apart.
        strangeness = (profile.line.unit_id != unit) + 2 * ("out of range" in reads)
        fits.append((strangeness, name, reads))
    fits.sort()
    return Found(unit, [name for _, name, _ in fits], [reads for _, _, reads in fits])


async def _try(master: Master, profile: Profile, unit: int, within_s: float) -> str:
    if profile.outputs is not None:
        outputs = profile.outputs
        coils = await master.read_coils(unit, outputs.address, outputs.count, within_s=within_s)
        return "outputs on: " + (", ".join(str(i) for i, on in enumerate(coils) if on) or "none")
    device = Device(master, profile, unit)
    said = []
    for block in profile.blocks():
        for measure, value in zip(
            block.measures, await device.read(block, within_s=within_s), strict=True
        ):
            if value.value is None:
                if value.reason != "the device has no value":
                    raise BadReply(value.reason)
                said.append(f"{measure.key} no value")
                continue
            low, high = measure.valid_range_si
            doubt = "" if low <= value.value <= high else " out of range"
            said.append(f"{measure.key} {value.value:g} {UNITS[value.quantity]}{doubt}")
    return ", ".join(said)
