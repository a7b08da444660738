"""Sets of integers as closed intervals: batch numbers, of which nearly all are there."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, Self

Range = tuple[int, int]
"""A closed interval of batch numbers."""


class Intervals:
    """A set of integers, kept as the fewest closed intervals; ascending, disjoint, not adjacent."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for number in sorted(numbers):
            self.add(number)

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> Self:
        """From ranges that are ascending, disjoint and not adjacent already."""
        made = cls()
        for first, last in ranges:
            made._firsts.append(first)
            made._lasts.append(last)
        return made

    def copy(self) -> Self:
        made = type(self).__new__(type(self))  # each commit copies those of all its streams
        made._firsts, made._lasts = self._firsts.copy(), self._lasts.copy()
        return made

    def add(self, number: int) -> None:
        """Put `number` in; nothing happens if it is there."""
        firsts, lasts = self._firsts, self._lasts
        at = bisect_right(firsts, number)  # the interval before `at` begins at or below `number`
        if at and number <= lasts[at - 1]:
            return
        joins_before = at > 0 and lasts[at - 1] == number - 1
        joins_after = at < len(firsts) and firsts[at] == number + 1
        if joins_before and joins_after:
            lasts[at - 1] = lasts[at]
            del firsts[at], lasts[at]
        elif joins_before:
            lasts[at - 1] = number
        elif joins_after:
            firsts[at] = number
        else:
            firsts.insert(at, number)
            lasts.insert(at, number)

    def discard(self, number: int) -> None:
        """Take `number` out; nothing happens if it is not there."""
        firsts, lasts = self._firsts, self._lasts
        at = bisect_left(lasts, number)
        if at == len(firsts) or firsts[at] > number:
            return
        first, last = firsts[at], lasts[at]
        if first == last:
            del firsts[at], lasts[at]
        elif number == first:
            firsts[at] = number + 1
        elif number == last:
            lasts[at] = number - 1
        else:
            firsts.insert(at + 1, number + 1)
            lasts.insert(at, number - 1)

    def since(self, before: "Intervals") -> tuple[list[int], list[Range]]:
        """What has changed since it was `before`: the beginnings of the intervals that are no more,
        and the intervals that are new. What both have at their ends costs next to nothing."""
        start = end = 0
        if (most := min(len(self._firsts), len(before._firsts))) <= _STEP:
            if self._firsts == before._firsts:  # nearly always: the last one has grown, if any
                both = zip(self._firsts, self._lasts, before._lasts, strict=True)
                return [], [(first, last) for first, last, was in both if last != was]
        else:
            start = _alike(self._firsts, before._firsts, self._lasts, before._lasts, most)
            end = _alike(
                self._firsts[::-1],
                before._firsts[::-1],
                self._lasts[::-1],
                before._lasts[::-1],
                most - start,
            )
        was = dict(list(before)[start : len(before._firsts) - end])
        now = dict(list(self)[start : len(self._firsts) - end])
        return [first for first in was if first not in now], [
            (first, last) for first, last in now.items() if was.get(first) != last
        ]

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def add_range(self, first: int, last: int) -> None:
        """Put all of `first` .. `last` in."""
        before = bisect_left(self._lasts, first - 1)  # the first interval that touches the range
        after = bisect_right(self._firsts, last + 1)
        if before < after:
            first = min(first, self._firsts[before])
            last = max(last, self._lasts[after - 1])
        self._firsts[before:after] = [first]
        self._lasts[before:after] = [last]

    def missing(self, up_to: int) -> list[Range]:
        """The ranges of 1 .. `up_to` that are not in the set."""
        holes, expected = [], 1
        for first, last in self:
            if expected > up_to:
                break
            if first > expected:
                holes.append((expected, min(first - 1, up_to)))
            expected = last + 1
        if expected <= up_to:
            holes.append((expected, up_to))
        return holes

    def union(self, other: "Intervals") -> "Intervals":
        """What is in one of the two; it costs as much as they have intervals."""
        made = Intervals()
        firsts, lasts = made._firsts, made._lasts
        end = -1
        for first, last in sorted([*self, *other]):
            if firsts and first <= end + 1:
                if last > end:
                    lasts[-1] = end = last
            else:
                firsts.append(first)
                lasts.append(last)
                end = last
        return made

    def next_out(self, number: int) -> int:
        """The lowest number from `number` on that is not in the set."""
        at = bisect_left(self._lasts, number)
        inside = at < len(self._firsts) and self._firsts[at] <= number
        return self._lasts[at] + 1 if inside else number

    @property
    def highest(self) -> int:
        """The greatest number in the set, 0 if it is empty."""
        return self._lasts[-1] if self._lasts else 0

    def covers(self, first: int, last: int) -> bool:
        """Whether all of `first` .. `last` are in the set; there must be such numbers."""
        at = bisect_left(self._lasts, last)
        return first <= last and at < len(self._firsts) and self._firsts[at] <= first

    @property
    def parts(self) -> int:
        """How many intervals there are."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._firsts) and self._firsts[at] <= number

    @property
    def count(self) -> int:
        """How many numbers are in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __len__(self) -> int:
        """How many intervals there are: what is iterated over, for `list` asks for it."""
        return len(self._firsts)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return False
        return self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # it changes; this is how Python spells it

    def __repr__(self) -> str:
        return f"Intervals.of({list(self)})"


_STEP: Final = 512


def _alike(
    firsts: list[int], others: list[int], lasts: list[int], other_lasts: list[int], most: int
) -> int:
    """A number of intervals at the beginning that two sets have in common, nearly all of them, and
    at most `most`: whole steps are compared at once."""
    at = 0
    while at < most:
        end = min(at + _STEP, most)
        if firsts[at:end] != others[at:end] or lasts[at:end] != other_lasts[at:end]:
            break
        at = end
    return at
