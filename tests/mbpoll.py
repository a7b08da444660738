"""mbpoll, Debian's Modbus master on libmodbus: an independent reader of our devices."""

import re
import subprocess

from tests.services import command

BUS = ["-m", "rtu", "-b", "9600", "-P", "none"]
"""Options for our 9600 baud line."""


def poll(*arguments: str, within_s: float = 5) -> dict[int, int]:
    """mbpoll, once: the values by address, or a failed test with what it said."""
    result = subprocess.run(
        [command("mbpoll"), "-0", "-1", "-o", f"{within_s:g}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    values = re.findall(r"^\[(\d+)\]:\s+(-?\d+)", result.stdout, re.MULTILINE)
    return {int(address): int(value) for address, value in values}
