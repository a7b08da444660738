"""By what a person tells this machine from another: its status carries it, so that two machines
with one gateway's id (a copied memory card) can be named."""

import os
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

LONGEST: Final = 64
_SYS: Final = Path("/sys")


@cache
def identity(sys: Path = _SYS) -> str:
    """A serial number, else the address of a network card, else the host's name; "" if there is
    none. What lies on the memory card, as /etc/machine-id does, would be copied with it."""
    found = next(_candidates(sys), "")
    return "".join(one for one in found if one.isascii() and one.isprintable())[:LONGEST]


def _candidates(sys: Path) -> Iterator[str]:
    if serial := _text(sys / "firmware/devicetree/base/serial-number"):  # a Raspberry Pi
        yield f"serial-{serial}"
    if serial := _text(sys / "class/dmi/id/product_serial"):  # a PC; for root only
        yield f"serial-{serial}"
    cards = sys / "class/net"
    try:
        names = sorted(os.listdir(cards))
    except OSError:
        names = []
    for name in names:
        is_real = (cards / name / "device").exists()  # not a bridge, a tunnel, the loopback
        if is_real and (address := _text(cards / name / "address")).strip("0:"):
            yield f"mac-{address.replace(':', '-')}"
    if name := socket.gethostname():
        yield f"host-{name}"


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", "ignore").strip("\0 \n")
    except OSError:
        return ""
