"""Words that somebody else wrote do nothing where they are shown, and nobody can click them."""

import io
import logging
import unicodedata
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import show
from cloud.store import Row
from configs.logs import FORMATTERS, Style
from configs.text import clean, clean_foreign, defang, for_terminal, is_visible_name
from wire.reading import Quantity

ACTIVE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
EVIL = st.text(
    st.sampled_from(
        "\x00\x1b\x07\x9b\n\r\t\x7f\u200b\u202e\u2066\u2028\ufeff\ud800\U000e0041ab水 .:/"
    )
)


@given(st.text(max_size=60) | EVIL, st.integers(1, 80))
def test_what_is_cleaned_is_one_line_that_is_only_read(text: str, most: int) -> None:
    shown = clean(text, most)
    assert not [one for one in shown if unicodedata.category(one) in ACTIVE]
    assert len(shown) <= max(most, len(f"… ({len(text)} characters)"))
    assert clean(shown, len(shown)) == shown
    shown.encode("utf-8")
    if len(text) <= most:
        assert len(shown) == len(text)  # nothing vanishes: what is replaced is seen


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("water 45 cm at 水尺 1", "water 45 cm at 水尺 1"),
        ("\x1b]0;pwned\x07", "␛]0;pwned␇"),
        ("a\nERROR forged\r", "a␊ERROR forged␍"),
        ("safe\u202eder", "safe\ufffdder"),
        ("a\u200bb\u2066c\ufeff", "a\ufffdb\ufffdc\ufffd"),
        ("\x9b31m", "\ufffd31m"),
        ("é e\u0301 e\u0301\u0301\u0301\u0301", "é e\u0301 e\u0301\u0301\ufffd\ufffd"),
    ],
)
def test_what_is_replaced_is_seen(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


def test_what_is_too_long_says_how_long_it_was() -> None:
    assert clean("x" * 50_000_000, 100).endswith("x… (50000000 characters)")
    assert len(clean("x" * 50_000_000, 100)) == 100


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://evil.example/a?b=c", "see https[:]//evil[.]example/a?b=c"),
        ("HTTP://1.2.3.4:80/x", "HTTP[:]//1.2.3.4:80/x"),
        ("www.evil.cn", "www[.]evil[.]cn"),
        ("call tel:+8610 or mailto:a@b.cn", "call tel[:]+8610 or mailto[:]a@b[.]cn"),
        ("javascript:alert(1)", "javascript[:]alert(1)"),
        ("水位见evil.com", "水位见evil[.]com"),
        ("depth 0.45 m at 12:30:05, cause: water", "depth 0.45 m at 12:30:05, cause: water"),
        ("outbox.db moved to outbox.db.damaged-17", "outbox.db moved to outbox.db.damaged-17"),
    ],
)
def test_an_address_cannot_be_clicked(text: str, shown: str) -> None:
    assert clean_foreign(text) == shown
    assert defang(shown) == shown


@pytest.mark.parametrize(
    "name", ["", " ", "\u200b", "\u3164", "\u2800", "--", "a\u200b", "li\n", "\ud800"]
)
def test_a_person_has_letters_that_are_seen(name: str) -> None:
    assert not is_visible_name(name)


@pytest.mark.parametrize("name", ["李 军", "li", "José", "O'Neill", "7"])
def test_people(name: str) -> None:
    assert is_visible_name(name)


@pytest.mark.parametrize("style", list(FORMATTERS))
def test_a_line_of_a_log_is_one_line_whatever_was_sent(style: Style) -> None:
    words = "\x1b[2J\nERROR shuichi.bus: forged" + "x" * 100_000
    record = logging.makeLogRecord(
        {"name": "n", "msg": "%s", "args": (words,), "levelname": "INFO", "gateway": words}
    )
    line = FORMATTERS[style]().format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 10_000


def test_what_stands_in_a_store_does_nothing_to_the_terminal() -> None:
    """Others may write there too."""
    evil = "\x1b]0;x\x07[link=https://evil.example]a[/link]\u202e"
    rows = [
        Row(1_700_000_000_000 + n, evil, evil, f"{evil}{n}", Quantity.DEPTH, 0.1, 1)
        for n in range(3)
    ]
    for draw in (show.table, show.chart):
        out = io.StringIO()
        draw(rows, UTC, out)
        assert not set(out.getvalue()) & set("\x1b\x07\u202e")
        assert "[/link]" in out.getvalue().replace("\n", "").replace(" ", "")
