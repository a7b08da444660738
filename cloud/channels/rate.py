"""How fast a channel may be used: a token bucket. Pure."""

from typing import NamedTuple


class Rate(NamedTuple):
    """A bucket that holds `burst` tokens and gains `per_s` a second; a message takes one."""

    burst: int
    per_s: float


class Bucket(NamedTuple):
    """How full it was at a moment of a monotonic clock, in seconds."""

    tokens: float
    at_s: float


def per_minute(limit: int) -> Rate:
    """The rate that never lets more than `limit` messages (1 at least) go in any minute.

    What can go in a minute is the full bucket and what it gains: the bucket therefore holds a
    quarter, and a minute brings the rest (its last token only as the next minute begins). A
    provider that closes the line for ten minutes because of the 21st message counts any 60 s, not
    those of a clock.
    """
    burst = max(1, limit // 4)
    return Rate(burst, (limit + 1 - burst) / 60)


def take(rate: Rate, bucket: Bucket, now_s: float) -> tuple[Bucket, float]:
    """The bucket after one message and 0, or the bucket as it is and the seconds to wait."""
    tokens = min(float(rate.burst), bucket.tokens + (now_s - bucket.at_s) * rate.per_s)
    if tokens >= 1:
        return Bucket(tokens - 1, now_s), 0.0
    return Bucket(tokens, now_s), (1 - tokens) / rate.per_s
