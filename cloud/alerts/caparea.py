"""Where a warning holds, as CAP writes it: polygons, circles and codes. Pure.

`polygon` and `circle` read what a person has written and refuse what is none. `flaws` says what is
wrong with an area that can be read: a plan that has such a one still calls people, and its warnings
are published without it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

Point = tuple[float, float]
"""Latitude and longitude, degrees, WGS 84."""

SMALLEST_M: Final = 10.0
"""A circle as small as this is shown nowhere (Google: "zero or a very small radius")."""

LARGEST_M: Final = 500_000.0
"""A circle over half a country is a radius in metres where km are wanted."""

_DEGREE: Final = 1_000_000
"""Coordinates are written to a millionth of a degree: 0.1 m on the ground."""

_REGION: Final = re.compile(r"\d{2}(\d{2}(\d{2}(\d{3}(\d{3})?)?)?)?")
"""A division code of GB/T 2260 has two, four or six digits, with GB/T 10114 and the statistical
codes of towns and villages nine or twelve."""


class Circle(NamedTuple):
    """Around a point; the radius in metres."""

    centre: Point
    radius_m: float


class Area(NamedTuple):
    """Where it holds. A polygon is closed where it is written if its writer has not closed it.
    `geocodes`: names of code systems and codes, such as ("GB/T 2260", "500103")."""

    polygons: tuple[tuple[Point, ...], ...] = ()
    circles: tuple[Circle, ...] = ()
    geocodes: tuple[tuple[str, str], ...] = ()


def polygon(text: str) -> tuple[Point, ...]:
    """The corners in `29.551,106.512 29.552,106.514 29.550,106.515`, as CAP writes them. Raises
    ValueError."""
    corners = tuple(_place(one) for one in text.split())
    closed(corners)
    return corners


def circle(text: str) -> Circle:
    """What `29.551,106.512 0.5` says: a point, and a radius in km, as CAP writes it. Raises
    ValueError."""
    match text.split():
        case [centre, radius_km]:
            found = Circle(_place(centre), 1000 * _float(radius_km))
        case _:
            raise ValueError(f"{text!r} is not such as 29.551,106.512 0.5 (the radius in km)")
    if not 0 <= found.radius_m < float("inf"):
        raise ValueError(f"{text!r}: {radius_km} km is no radius")
    return found


def closed(corners: Sequence[Point]) -> Sequence[Point]:
    """The ring of a polygon: its first point is its last. Raises ValueError for too few corners."""
    ring = corners if corners[:1] == corners[-1:] else (*corners, corners[0])
    if len(ring) < 4:
        raise ValueError(f"a polygon has three corners at least, not {max(len(ring) - 1, 0)}")
    return ring


def written_point(point: Point) -> str:
    """As CAP writes it. Raises ValueError for what is not on the Earth."""
    latitude, longitude = point
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise ValueError(f"{point} is no latitude and longitude")
    return f"{number(latitude)},{number(longitude)}"


def number(value: float) -> str:
    """To six places, which is 0.1 m on the ground, and without an exponent."""
    return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")


# What is wrong with an area that can be read


def polygon_flaws(corners: Sequence[Point]) -> Iterator[str]:
    """What a receiver could not draw: the first thing wrong with a polygon, with its place and how
    to mend it. CAP asks for no direction of the corners, and none is demanded."""
    ring = [(round(one[0] * _DEGREE), round(one[1] * _DEGREE)) for one in closed(corners)]
    sides = len(ring) - 1
    for i in range(sides):
        if ring[i] == ring[i + 1]:
            yield f"corner {_named(ring, i + 1)} is written twice in a row: leave one out"
            return
        if abs(ring[i][1] - ring[i + 1][1]) > 180 * _DEGREE:
            yield (
                f"the side from corner {_named(ring, i)} to {_named(ring, i + 1)} goes round the "
                "Earth: end the area at 180 degrees"
            )
            return
    for i in range(sides):
        for j in range(i + 1, sides):
            neighbours = j == i + 1 or (i == 0 and j == sides - 1)
            if neighbours and not _folds_back(ring, i, j):
                continue
            if _meet((ring[i], ring[i + 1]), (ring[j], ring[j + 1])):
                yield (
                    f"it crosses or touches itself: the side from corner {_named(ring, i)} to "
                    f"{_named(ring, i + 1)} meets the side from {_named(ring, j)} to "
                    f"{_named(ring, j + 1)}; write the corners in the order of a walk around it"
                )
                return


def circle_flaws(one: Circle) -> Iterator[str]:
    """What is wrong with a circle, and how to mend it."""
    if not SMALLEST_M <= one.radius_m <= LARGEST_M:
        yield (
            f"a radius of {one.radius_m / 1000:g} km is none for a warning: write "
            f"{SMALLEST_M / 1000:g} to {LARGEST_M / 1000:g} km"
        )


def geocode_flaws(system: str, code: str) -> Iterator[str]:
    """What is wrong with a code, and how to mend it."""
    if not system.strip() or not code.strip():
        yield "has an empty name or code: write such as geocode = { 'GB/T 2260' = '500103' }"
    elif any(not one.isprintable() for one in system + code) or code != code.strip():
        yield f"{code!r} has spaces at its ends or characters that cannot be seen: leave them out"
    elif "2260" in system and not _REGION.fullmatch(code):
        yield f"{code!r} is no division code: it has 2, 4, 6, 9 or 12 digits, such as 500103"


def sound(area: Area) -> Area:
    """What of it can be published."""
    return Area(
        tuple(one for one in area.polygons if not any(polygon_flaws(one))),
        tuple(one for one in area.circles if not any(circle_flaws(one))),
        tuple(one for one in area.geocodes if not any(geocode_flaws(*one))),
    )


def flaws(
    polygon_text: str | None, circle_text: str | None, geocodes: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the place of a site as it is written, each with its key."""
    if polygon_text is not None:
        for flaw in polygon_flaws(polygon(polygon_text)):
            yield "polygon", flaw
    if circle_text is not None:
        for flaw in circle_flaws(circle(circle_text)):
            yield "circle", flaw
    for system, code in geocodes.items():
        for flaw in geocode_flaws(system, code):
            yield f"geocode.{system}", flaw


_Corner = tuple[int, int]
"""In millionths of a degree: whole numbers, so that nothing is decided by rounding."""


def _named(ring: Sequence[_Corner], index: int) -> str:
    """Such as `2 (29.55,106.512)`: the corner as its writer counts it."""
    latitude, longitude = ring[index]
    place = index % (len(ring) - 1) + 1
    return f"{place} ({number(latitude / _DEGREE)},{number(longitude / _DEGREE)})"


def _turn(a: _Corner, b: _Corner, c: _Corner) -> int:
    """On which side of the line from `a` to `b` `c` lies; 0: on it."""
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (area > 0) - (area < 0)


def _within(a: _Corner, b: _Corner, c: _Corner) -> bool:
    """Whether `c`, on the line through `a` and `b`, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _meet(first: tuple[_Corner, _Corner], second: tuple[_Corner, _Corner]) -> bool:
    """Whether two sides have a point in common."""
    a, b = first
    c, d = second
    turns = (_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b))
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    return (
        (turns[0] == 0 and _within(a, b, c))
        or (turns[1] == 0 and _within(a, b, d))
        or (turns[2] == 0 and _within(c, d, a))
        or (turns[3] == 0 and _within(c, d, b))
    )


def _folds_back(ring: Sequence[_Corner], i: int, j: int) -> bool:
    """Whether two sides that share a corner lie on each other: they have more than it in common."""
    if ring[i + 1] == ring[j]:
        before, shared, after = ring[i], ring[j], ring[j + 1]
    else:
        before, shared, after = ring[j], ring[i], ring[i + 1]
    if _turn(before, shared, after) != 0:
        return False
    ahead = (shared[0] - before[0]) * (after[0] - shared[0]) + (shared[1] - before[1]) * (
        after[1] - shared[1]
    )
    return ahead < 0


def _place(text: str) -> Point:
    latitude, comma, longitude = text.partition(",")
    if not comma:
        raise ValueError(f"{text!r} is not such as 29.551,106.512")
    point = (_float(latitude), _float(longitude))
    if abs(point[0]) > 90 and abs(point[1]) <= 90:
        raise ValueError(f"{point} is no latitude and longitude: the latitude comes first")
    written_point(point)
    return point


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
