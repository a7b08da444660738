"""When a ruler is believed: fresh, moving as water moves, and confirmed by its own next reading.
Pure; part of `edge.interlock`."""

from typing import Final, NamedTuple

import msgspec

_SPEAKS_FOR: Final = 1.5
_EVERY_GAIN: Final = 1 / 4
_SHORTEST_EVERY_S: Final = 0.02


class RulerRule(NamedTuple):
    """Depths in m, times in s. A fall must clear `amber_clear_m` and `red_clear_m`.

    `jump_m`: a reading that differs by more from the one before it is believed only if the next
    one confirms it; after a silence of `stale_after_s` there is none before it. `stuck_after_s`: a
    wet ruler (over `dry_m`) that repeats one value for so long is not believed until it moves. None
    switches either off.
    """

    amber_m: float
    red_m: float
    amber_clear_m: float
    red_clear_m: float
    rise_samples: int
    stale_after_s: float
    jump_m: float | None = None
    stuck_after_s: float | None = None
    dry_m: float = 0.02

    @property
    def thresholds(self) -> tuple[float, float]:
        """Amber and red, m."""
        return self.amber_m, self.red_m


class Sample(NamedTuple):
    """What a ruler said: depth in m, or None if it said nothing that can be believed."""

    ruler: str
    depth: float | None
    reason: str = ""


class Notice(NamedTuple):
    """Something to tell; `kind` is a word for programs, `text` a line for people."""

    kind: str
    text: str
    detail: dict[str, str | int | float | bool | None]


class Ruler(msgspec.Struct, frozen=True):
    """How one ruler stands.

    `depth` is the last believed one and `seen_at` its time; `moved_at` when it last changed;
    `over` counts readings in a row at or over amber and over red; `healthy` counts believed ones
    in a row, up to what the rule asks for; `doubted` is a reading that jumped and waits for the
    next one. A lost ruler takes no part. `met`: it has taken part before. `every_s` is the time
    between its last believed readings, smoothed; None before there are two.
    """

    depth: float = 0.0
    seen_at: float = float("-inf")
    moved_at: float = float("-inf")
    over: tuple[int, int] = (0, 0)
    healthy: int = 0
    doubted: float | None = None
    lost: bool = True
    met: bool = False
    every_s: float | None = None


def heard(rule: RulerRule, ruler: Ruler, sample: Sample, now: float, out: list[Notice]) -> Ruler:
    """The ruler after one sample."""
    depth = sample.depth
    if depth is None:
        # Nothing believable: the counts start again, but only time makes the ruler stale.
        return msgspec.structs.replace(ruler, over=(0, 0), healthy=0, doubted=None)
    last = ruler.depth if ruler.doubted is None else ruler.doubted
    # After a silence there is nothing to compare with: the water may stand anywhere by now.
    first = now - ruler.seen_at > rule.stale_after_s and ruler.doubted is None
    if rule.jump_m is not None and not first and abs(depth - last) > rule.jump_m:
        # What is over a threshold counts from here on, so that a true flood loses no sample.
        over = _count(rule, ruler.over, depth, sample, out)
        return msgspec.structs.replace(ruler, over=over, healthy=0, doubted=depth)
    moved = depth != ruler.depth or ruler.seen_at == float("-inf")
    over = _count(rule, ruler.over, depth, sample, out)
    healthy = min(ruler.healthy + 1 + (ruler.doubted is not None), rule.rise_samples)
    moved_at = now if moved else ruler.moved_at
    if _stuck(rule, depth, moved_at, now):
        return msgspec.structs.replace(
            ruler, depth=depth, moved_at=moved_at, over=over, healthy=0, doubted=None
        )
    lost = ruler.lost and healthy < rule.rise_samples
    if ruler.lost and not lost:
        out.append(Notice("ruler_back", f"{sample.ruler} answers", {"ruler": sample.ruler}))
    every_s, met = _every_s(ruler, now), ruler.met or not lost
    return Ruler(depth, now, moved_at, over, healthy, None, lost, met, every_s)


def heard_until(rule: RulerRule, ruler: Ruler) -> float:
    """Until when its last believed reading speaks for the water: the next one is due by then."""
    return ruler.seen_at + (
        rule.stale_after_s if ruler.every_s is None else _SPEAKS_FOR * ruler.every_s
    )


def aged(rule: RulerRule, name: str, ruler: Ruler, now: float, out: list[Notice]) -> Ruler:
    """The ruler now that time has passed: lost if nothing believable came for too long."""
    silent_s = now - ruler.seen_at
    if ruler.lost or silent_s <= rule.stale_after_s:
        return ruler
    if _stuck(rule, ruler.depth, ruler.moved_at, now):
        why = f"has stood at {ruler.depth:.2f} m for {now - ruler.moved_at:.0f} s"
    else:
        why = f"has given no believable reading for {silent_s:.1f} s"
    detail: dict[str, str | int | float | bool | None] = {
        "ruler": name,
        "silent_s": round(silent_s, 3),
    }
    out.append(Notice("ruler_lost", f"{name} {why}", detail))
    return msgspec.structs.replace(ruler, lost=True, over=(0, 0), healthy=0)


def confirmed(rule: RulerRule, ruler: Ruler) -> int:
    """The band that enough readings in a row demand: 0 green, 1 amber, 2 red."""
    return sum(count >= rule.rise_samples for count in ruler.over)


def reached(rule: RulerRule, ruler: Ruler) -> int:
    """The band of the depth as last believed, confirmed or not."""
    return sum(ruler.depth >= threshold for threshold in rule.thresholds)


def settled(rule: RulerRule, ruler: Ruler) -> int:
    """The band that the depth still holds: it falls only under the clear thresholds. Red's may lie
    below amber's."""
    if ruler.depth > rule.red_clear_m:
        return 2
    return int(ruler.depth > rule.amber_clear_m)


def _every_s(ruler: Ruler, now: float) -> float | None:
    gap_s = now - ruler.seen_at
    if gap_s == float("inf"):
        return None
    if ruler.every_s is None:
        return gap_s
    # A pause is no rhythm: it counts for little.
    error_s = min(gap_s, 2 * ruler.every_s) - ruler.every_s
    return max(_SHORTEST_EVERY_S, ruler.every_s + _EVERY_GAIN * error_s)


def _stuck(rule: RulerRule, depth: float, moved_at: float, now: float) -> bool:
    """A dry ruler may stand still for months; a wet one may not."""
    return (
        rule.stuck_after_s is not None
        and depth > rule.dry_m
        and now - moved_at > rule.stuck_after_s
    )


def _count(
    rule: RulerRule, over: tuple[int, int], depth: float, sample: Sample, out: list[Notice]
) -> tuple[int, int]:
    counts = []
    for count, threshold, name in zip(over, rule.thresholds, ("amber", "red"), strict=True):
        counts.append(count + 1 if depth >= threshold else 0)
        if counts[-1] == 1:
            text = f"{sample.ruler} reads {depth:.2f} m, at or over {name} ({threshold:.2f} m)"
            detail: dict[str, str | int | float | bool | None] = {
                "ruler": sample.ruler,
                "threshold": name,
                "depth_m": depth,
            }
            out.append(Notice("over_threshold", text, detail))
    return counts[0], counts[1]
