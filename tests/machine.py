"""A machine whose clocks a test sets."""

from edge.clock import Clock, Source

UTC_MS = 1_782_000_000_000


class FakeMachine:
    """`boot`, seconds since it, and what the system's clock shows at the moment."""

    def __init__(
        self, boot: str = "boot-1", *, utc_ms: int = UTC_MS, up_s: float = 10.0, ntp: bool = False
    ) -> None:
        self.boot = boot
        self.shown_ms = float(utc_ms)
        self.up_s = up_s
        self.ntp = ntp

    def monotonic(self) -> float:
        return self.up_s

    def utc_ms(self) -> int:
        return round(self.shown_ms)

    def synchronised(self) -> bool:
        return self.ntp

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.up_s += seconds
        self.shown_ms += seconds * 1000

    def step(self, seconds: float) -> None:
        """Set the system's clock."""
        self.shown_ms += seconds * 1000


def trusted(machine: FakeMachine, source: Source = Source.TRUSTED) -> Clock:
    """A clock that knows the time of `machine`."""
    clock = Clock(machine, source)
    offset_ms = clock.candidate()
    assert offset_ms is not None
    clock.trust(offset_ms)
    return clock
