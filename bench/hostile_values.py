"""What hostile messages put into their fields: see `bench.hostile`."""

import json
from typing import Any, Final, NamedTuple

Json = Any
"""What `json.dumps` takes, and `Raw`."""


class Raw(NamedTuple):
    """JSON that `json.dumps` would not write."""

    text: str


NUMBERS: Final[list[Json]] = [
    *(0, -1, 1, 2**31, -(2**31), 2**32, 2**53, 2**53 + 1, -(2**53), 2**63 - 1, 2**63, -(2**63)),
    *(2**64, 2**64 - 1, 10**30, 0.5, -0.0, 5e-324, 1.7e308, -1.7e308, 9.007e15, 1e300, 1e16),
    *(Raw("1e400"), Raw("-1e400"), Raw("NaN"), Raw("Infinity"), Raw("01"), Raw("1.")),
    *(Raw("1" + "0" * 400), Raw("-1" + "0" * 400), Raw("1" + "0" * 5000), Raw("0." + "1" * 3000)),
    *(Raw("1e-400"), Raw("9" * 19), Raw("9007199254740993.0"), 253402300800000, -62135596800000),
]
TEXTS: Final[list[Json]] = [
    *("", " ", "\0", "a\0b", "\x1b[2J\x1b]0;x\a", "\r\nINFO all is well", "‮evil", "\u200b"),
    *("é" * 40, "😀" * 20, "x" * 64, "x" * 65, "x" * 101, "x" * 300, "x" * 5000, "𝔘" * 3000),
    *("../../etc/passwd", "a/b", "+", "#", "$SYS", "NORTH", "north underpass", "-", "-a"),
    *("' OR 1=1 --", "{{7*7}}", "<script>", "%s%n", "north-underpass\n", "gw-other", "none"),
    *("gw-hostile/x/y/depth", "gw-hostile/x/y", "a/b/c/d/e", "depth", "m", "V", "cm"),
    *(Raw(r'"\ud800"'), Raw(r'"\u0000"'), Raw(r'"\x41"'), Raw('"\udcff"'), Raw('"cut')),
    *("99999999999999999999", "1e400", "true", "null"),
]
CONTAINERS: Final[list[Json]] = [
    *([], {}, [[]], [None], [1], [[1, 2]], [[2, 1]], [[0, 0]], [[1, 2**53]], [[-1, 2**62]]),
    *([[1, 2**63]], [[1, 2], [1, 2]], [[5, 6], [1, 2]], [[1]], [[1, 2, 3]], [["1", "2"]]),
    *(
        Raw("[" + ",".join(f"[{n},{n}]" for n in range(3000, 1, -2)) + "]"),
        [[1.0, 2.0]],
        {"a": {"b": {"c": 1}}},
    ),
    *(
        Raw(json.dumps({f"k{n}": n for n in range(40)})),
        {"k" * 100: 1},
        {"": ""},
        {"silent_s": 2**53},
    ),
    *({"silent_s": Raw("1" + "0" * 400)}, {"silent_s": Raw("1e308")}, {"depth_m": -1.7e308}),
    Raw("[" * 40 + "]" * 40),
    Raw("[" * 2000 + "]" * 2000),
    Raw('{"a":' * 2000 + "1" + "}" * 2000),
    Raw('{"a":1,"a":2}'),
]
LONG: Final[list[Json]] = [
    Raw('"' + "x" * 2_000_000 + '"'),
    Raw("[" + ",".join(f"[{n},{n}]" for n in range(1, 150_000)) + "]"),
    Raw("[" * 100_000),
]
ANYTHING: Final[list[Json]] = [None, True, False, *NUMBERS, *TEXTS, *CONTAINERS]

KINDS: Final = (
    *("aspect_wanted", "aspect_confirmed", "signal_unconfirmed", "ruler_lost", "ruler_back"),
    *("rulers_disagree", "rulers_agree", "order_taken", "order_ended", "local_switch"),
    *("clock_jump", "clock_placed", "disk_full", "outbox_damaged", "events_lost", "unheard-of"),
)
