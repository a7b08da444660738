"""Large hostile batches, of the kinds that worked once: see `bench.hostile`."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sender:
    """Who seems to write them."""

    dice: random.Random
    gateway: str
    site: str
    number: int

    def text(self, **fields: str) -> bytes:
        """The JSON of a batch with these fields."""
        head = f'{{"gateway":"{self.gateway}","stream":"00000000deadbeef","v":1'
        whole = {"number": str(self.number), **fields}
        return (head + "".join(f',"{key}":{text}' for key, text in whole.items()) + "}").encode()

    def record(self, sensor: str = "ruler-1") -> str:
        """A record of SenML in which nothing is wrong."""
        place = f"{self.gateway}/{self.site}/{sensor}/depth"
        return f'{{"bn":"{place}","bu":"m","bt":1782000000,"v":1}}'


def _copied_base(one: Sender) -> tuple[str, bytes]:
    long = "x" * one.dice.choice([200, 290, 600, 200_000])
    count = one.dice.choice([500, 5000, 300_000])
    return "base fields in each fault", one.text(
        senml=f'[{{"bn":"{long}","bu":"{long}"}}' + ',{"v":""}' * count + "]"
    )


def _long_times(one: Sender) -> tuple[str, bytes]:
    digits = "0" * one.dice.choice([500, 1_000_000])
    return "a base time of many digits", one.text(
        senml=f'[{{"bt":1782000000.{digits}}}' + ',{"v":""}' * 900 + "]"
    )


def _descending(one: Sender) -> tuple[str, bytes]:
    count = one.dice.choice([3000, 9999, 200_000])
    batches = ",".join(f"[{n},{n}]" for n in range(3 * count, 0, -3))
    gap = f'[{{"reason":"x","from_ms":1,"to_ms":2,"batches":[{batches}]}}]'
    return "descending intervals", one.text(gaps=gap)


def _empty_records(one: Sender) -> tuple[str, bytes]:
    return "empty records", one.text(senml="[" + "{}," * 1_300_000 + "{}]")


def _wrong_records(one: Sender) -> tuple[str, bytes]:
    wrong = one.dice.choice(['{"v":"x"}', "5", '{"n":"/","v":1}', "[[[[[]]]]]", '{"bn":5}'])
    count = one.dice.choice([999, 9990, 400_000])
    return "wrong records", one.text(senml=f"[{one.record()}" + f",{wrong}" * count + "]")


def _odd_records(one: Sender) -> tuple[str, bytes]:
    """Readings that are right, and written as no gateway of ours does."""
    record = ',{"n":"","u":"m","bt":1782000000,"bv":0.5,"v":1,"t":1,"q":2,"zz":[]}'
    return "odd records", one.text(senml=f"[{one.record()}" + record * 9990 + "]")


def _series(one: Sender) -> tuple[str, bytes]:
    records = ",".join(one.record(f"r{n}-{one.number}") for n in range(9990))
    return "a series for each record", one.text(senml=f"[{records}]")


def _events(one: Sender) -> tuple[str, bytes]:
    details = ",".join(f'"k{n}":{n}' for n in range(one.dice.choice([8, 32, 5000])))
    event = f'{{"at_ms":1782000000000,"site":"a","kind":"b","text":"c","detail":{{{details}}}}}'
    count = min(one.dice.choice([1000, 4000]), 4_000_000 // len(event))
    return "many events", one.text(events="[" + ",".join([event] * count) + "]")


def _bomb(one: Sender) -> tuple[str, bytes]:
    return "a bomb", b" " * one.dice.choice([4 << 20, 40 << 20])


def _nested(one: Sender) -> tuple[str, bytes]:
    return "nested", one.text(senml="[" * 1_000_000)


def _long_text(one: Sender) -> tuple[str, bytes]:
    name = one.dice.choice(["gateway", "stream", "zz", "senml", "number"])
    return "a long text", one.text(**{name: '"' + "\\u0041" * 600_000 + '"'})


def _many_labels(one: Sender) -> tuple[str, bytes]:
    labels = ",".join(f'"a{n}":1' for n in range(190_000))
    return "many labels", one.text(senml=f'[{{{labels},"v":"x"}}]')


LARGE: Final[tuple[Callable[[Sender], tuple[str, bytes]], ...]] = (
    *(_copied_base, _long_times, _descending, _empty_records, _wrong_records, _odd_records),
    *(_series, _events, _bomb, _nested, _long_text, _many_labels),
)
"""Each makes the name of an attack, and the JSON of a batch."""
