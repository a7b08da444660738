"""Hostile messages, seeded: valid messages of the wire in which something is not as it should be.

Most keep the shape of a message and have one to three fields that lie, for a decoder refuses noise
at its first byte. A few are large, because what is cheap once may be dear a hundred thousand times.
"""

import copy
import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bench.hostile_large import LARGE, Sender
from bench.hostile_values import ANYTHING, KINDS, LONG, NUMBERS, TEXTS, Json, Raw
from wire.topics import What

BATCHES: Final = (What.DATA, What.EVENT)
TO_CLOUD: Final = (What.DATA, What.EVENT, What.STATUS, What.INTERLOCK, What.REPLY)
TO_GATEWAY: Final = (What.ACK, What.COMMAND)

NOW_MS: Final = 1_782_000_000_000

_LARGE_ONE_IN: Final = 200


class Hostile(NamedTuple):
    """One message. `attack` names its class; `site` is that of an interlock's topic."""

    what: What
    payload: bytes
    attack: str
    site: str | None = None


@dataclass(slots=True)
class Generator:
    """Makes messages as if they came from, or went to, `gateway`; the same for the same seed.

    `sign` makes of a command's body what travels, so that some of them are rightly signed.
    """

    seed: int
    gateway: str = "gw-hostile"
    sites: tuple[str, ...] = ("north-underpass",)
    sign: Callable[[bytes], bytes] | None = None
    now_ms: int = NOW_MS
    largest: int = 4 << 20
    dice: random.Random = field(init=False)
    _number: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def messages(self, *kinds: What) -> Iterator[Hostile]:
        """Messages of these kinds, or of all, without end."""
        while True:
            yield self.message(self.dice.choice(kinds or tuple(What)))

    def message(self, what: What) -> Hostile:
        """The next one of this kind."""
        large = self.dice.random() * _LARGE_ONE_IN < 1
        found = self._batch(what, large) if what in BATCHES else self._small(what, large)
        return found._replace(payload=found.payload[: self.largest])

    def large(self, what: What = What.DATA) -> Iterator[Hostile]:
        """Large batches without end, each kind of them in turn, from a random one on."""
        first = self.dice.randrange(len(LARGE))
        for n in itertools.count(first):
            self._number += 1
            site = self.dice.choice(self.sites)
            sender = Sender(self.dice, self.gateway, site, self._number)
            attack, text = LARGE[n % len(LARGE)](sender)
            yield Hostile(what, zlib.compress(text, 1), attack)

    # Batches.

    def _batch(self, what: What, large: bool) -> Hostile:
        if large:
            return next(self.large(what))
        attack, whole = "field", self.envelope()
        if self.dice.random() < 0.3:
            attack, change = self.dice.choice(_SHAPES)
            change(self, whole)
        else:
            whole, attack = self._spoil(whole)
        return Hostile(what, self._squeezed(_spell(whole).encode("utf-8", "surrogatepass")), attack)

    def envelope(self) -> dict[str, Json]:
        """A batch in which nothing is wrong."""
        self._number += 1
        site = self.dice.choice(self.sites)
        records: list[Json] = [
            {"v": self.dice.uniform(0, 1), "t": n / 10} for n in range(self.dice.randint(1, 20))
        ]
        records[0] |= {
            "bn": f"{self.gateway}/{site}/ruler-{self.dice.randint(1, 3)}/depth",
            "bu": "m",
            "bt": self.now_ms / 1000,
        }
        whole: dict[str, Json] = {
            "gateway": self.gateway,
            "stream": "00000000deadbeef",
            "number": self._number,
            "v": 1,
            "senml": records,
        }
        if self.dice.random() < 0.6:
            whole["events"] = [
                {
                    "at_ms": self.now_ms,
                    "site": site,
                    "kind": self.dice.choice(KINDS),
                    "text": "something happened",
                    "detail": {
                        "silent_s": 3.5,
                        "ruler": "ruler-1",
                        "depth_m": 0.3,
                        "from": "green",
                        "to": "red",
                        "count": 3,
                        "first": True,
                        "by": None,
                    },
                }
            ]
        if self.dice.random() < 0.4:
            whole["gaps"] = [
                {
                    "reason": "disk full",
                    "from_ms": self.now_ms - 1000,
                    "to_ms": self.now_ms,
                    "readings": 3,
                    "batches": [[self._number + 1, self._number + 2]],
                }
            ]
        return whole

    def _squeezed(self, text: bytes) -> bytes:
        payload = zlib.compress(text, 6)
        match self.dice.randint(0, 40):
            case 0:
                return payload[: self.dice.randrange(len(payload))]
            case 1:
                return payload + self.dice.randbytes(20)
            case 2:
                return text
            case 3:
                return zlib.compress(payload)
        return payload

    # Messages of plain JSON.

    def _small(self, what: What, large: bool) -> Hostile:
        whole = self.plain(what)
        site = whole.get("site") if what is What.INTERLOCK else None
        attack = "field"
        if large:
            attack = "large"
            name = self.dice.choice([*whole])
            whole[name] = self.dice.choice(LONG)
        elif self.dice.random() < 0.95:
            whole, attack = self._spoil(whole)
        text = _spell(whole).encode("utf-8", "surrogatepass")
        if what is What.COMMAND:
            text = self._signed(text)
        return Hostile(what, text, attack, site)

    def plain(self, what: What) -> dict[str, Json]:
        """One in which nothing is wrong."""
        site = self.dice.choice(self.sites)
        self._number += 1
        aspect = self.dice.choice(["green", "amber", "red"])
        match what:
            case What.STATUS:
                return {
                    "gateway": self.gateway,
                    "state": self.dice.choice(["online", "stopped", "lost"]),
                    "at_ms": self.now_ms,
                    "stream": "00000000deadbeef",
                    "sealed": self._number,
                    "readings_sealed": 10 * self._number,
                    "pending": 3,
                    "clock_trusted": True,
                    "readings_lost": 1,
                    "v": 1,
                }
            case What.INTERLOCK:
                return {
                    "site": site,
                    "wanted": aspect,
                    "confirmed": aspect,
                    "depth": 0.25,
                    "cause": "ruler-1 reads 0.25 m",
                    "at_ms": self.now_ms,
                    "v": 1,
                }
            case What.REPLY:
                return {
                    "command": "0123456789abcdef",
                    "outcome": self.dice.choice(["accepted", "refused", "confirmed"]),
                    "at_ms": self.now_ms,
                    "reason": "the clock is not trusted",
                    "aspect": aspect,
                    "v": 1,
                }
            case What.COMMAND:
                return {
                    "id": "0123456789abcdef",
                    "gateway": self.gateway,
                    "site": site,
                    "action": self.dice.choice(["raise", "lower", "clear", "cancel", "move"]),
                    "sequence": self.now_ms + self._number,
                    "issued_ms": self.now_ms,
                    "aspect": aspect,
                    "person": "Li Wei",
                    "reason": "exercise",
                    "expires_ms": self.now_ms + 60_000,
                    "shard": "1",
                    "v": 1,
                }
        low = self.dice.randint(1, 1000)
        return {"stream": "00000000deadbeef", "batches": [[low, low + 3]], "v": 1}

    def _signed(self, body: bytes) -> bytes:
        if self.sign is not None and self.dice.random() < 0.6:
            try:
                return self.sign(body)
            except ValueError:  # a body that is not UTF-8
                pass
        whole = {
            "body": body.decode("utf-8", "replace"),
            "key": "ops-1",
            "signature": "AAAA" * 21 + "AA==",
        }
        if self.dice.random() < 0.7:
            whole[self.dice.choice([*whole])] = self._bad()
        return _spell(whole).encode("utf-8", "surrogatepass")

    # Fields.

    def _spoil(self, whole: dict[str, Json]) -> tuple[dict[str, Json], str]:
        """The same with one to three places that lie; the first of them names the attack."""
        attack = ""
        for _ in range(self.dice.choice([1, 1, 1, 2, 3])):
            places = [*_places(whole)]
            if not places:
                break
            path, (holder, key) = self.dice.choice(places)
            attack = attack or f"field {path}"
            holder[key] = self._bad(holder[key])
        return whole, attack

    def _bad(self, old: Json = None) -> Json:
        """Something in the place of `old`, more often than not of the same type."""
        if isinstance(old, str) and self.dice.random() < 0.7:
            return self.dice.choice(TEXTS)
        if isinstance(old, int | float) and self.dice.random() < 0.7:
            return self.dice.choice(NUMBERS)
        return copy.deepcopy(self.dice.choice(ANYTHING))  # it may be spoiled in its turn


def _places(holder: Json, path: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Every field, with its path in words."""
    pairs: Iterator[tuple[Any, Json]] | list[tuple[Any, Json]]
    if isinstance(holder, dict):
        pairs = [*holder.items()]
    elif isinstance(holder, list):
        pairs = [*enumerate(holder)]
    else:
        return
    for key, one in pairs:
        name = f"{path}.{key}" if isinstance(key, str) else f"{path}[]"
        yield name.removeprefix("."), (holder, key)
        yield from _places(one, name)


# Shapes: what is wrong lies in how things stand together.


def _foreign(one: Generator, whole: dict[str, Json]) -> None:
    whole["gateway"] = one.dice.choice(["gw-other", "", "GW", "a" * 64])


def _many_sites(one: Generator, whole: dict[str, Json]) -> None:
    whole["senml"] = [
        {
            "bn": f"{one.gateway}/site-{one.dice.getrandbits(40):x}/r-{n}/depth",
            "bu": "m",
            "bt": one.now_ms / 1000,
            "v": 1.5,
        }
        for n in range(30)
    ]


def _random_stream(one: Generator, whole: dict[str, Json]) -> None:
    whole["stream"] = f"{one.dice.getrandbits(64):016x}"


def _sparse_number(one: Generator, whole: dict[str, Json]) -> None:
    whole["number"] = one.dice.randint(1, 2**53)


def _twice_with_other_content(one: Generator, whole: dict[str, Json]) -> None:
    whole["number"] = 1
    whole["senml"][0]["v"] = one.dice.random()


def _base_values(one: Generator, whole: dict[str, Json]) -> None:
    whole["senml"][0] |= {"bv": one.dice.choice(NUMBERS), "bver": one.dice.choice([10, 11, "x"])}


def _times(one: Generator, whole: dict[str, Json]) -> None:
    for record in whole["senml"]:
        record["t"] = one.dice.choice([-1e9, 1e9, 9e12, -9e12, 1e300, 4e9, -1.782e9])


def _faults(one: Generator, whole: dict[str, Json]) -> None:
    whole["senml"] += [one.dice.choice([{"v": "x"}, 5, {"q": 7, "v": 1}, {"n": "/x", "v": 1}])] * 40


def _gaps(one: Generator, whole: dict[str, Json]) -> None:
    steps = one.dice.sample(range(1, 100_000, 3), 60)
    gap = {"reason": "x", "from_ms": 2**53, "to_ms": 0, "readings": 2**53}
    whole["gaps"] = [gap | {"batches": [[n, n + one.dice.randint(-1, 4)] for n in steps]}]


def _many_gaps(one: Generator, whole: dict[str, Json]) -> None:
    whole["gaps"] = [
        {"reason": one.dice.choice(["a", "b" * 900]), "from_ms": 1, "to_ms": 2**53}
        for _ in range(50)
    ]


def _many_events(one: Generator, whole: dict[str, Json]) -> None:
    whole["events"] = [
        {
            "at_ms": one.dice.choice([0, one.now_ms, 2**53]),
            "site": one.dice.choice(["", f"s-{one.dice.getrandbits(30)}", *one.sites]),
            "kind": one.dice.choice(KINDS),
            "text": "t" * one.dice.choice([1, 3000]),
            "detail": {
                one.dice.choice(["silent_s", "to", "from", "depth_m", "apart_m"]): one.dice.choice(
                    [2**53, -(2**53), 1e15, "red", None, True, ""]
                )
            },
        }
        for _ in range(20)
    ]


_SHAPES: Final[list[tuple[str, Callable[[Generator, dict[str, Json]], None]]]] = [
    (change.__name__.strip("_"), change)
    for change in (
        *(_foreign, _many_sites, _random_stream, _sparse_number, _twice_with_other_content),
        *(_base_values, _times, _faults, _gaps, _many_gaps, _many_events),
    )
]


_scalar: Final = json.JSONEncoder(ensure_ascii=False).encode


def _spell(whole: Json) -> str:
    """JSON, with what is raw in it as it is."""
    if isinstance(whole, Raw):
        return whole.text
    if isinstance(whole, dict):
        return "{" + ",".join(f"{_scalar(key)}:{_spell(one)}" for key, one in whole.items()) + "}"
    if isinstance(whole, list):
        return "[" + ",".join(map(_spell, whole)) + "]"
    return _scalar(whole)
