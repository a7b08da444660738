"""The gateway's two clocks: UTC for what is told, monotonic time for what is decided."""

import time


def utc_ms() -> int:
    """UTC in whole milliseconds since 1970, from the system's clock."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds that never run backwards; the event loop's own time base."""
    return time.monotonic()
