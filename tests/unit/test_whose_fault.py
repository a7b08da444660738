"""Whose fault it is that a store did not take readings: the table, in the words of all versions,
and against names that say what a server says."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from cloud import state
from cloud.errors import Rejected, Unavailable
from cloud.store import refusal
from cloud.store.refusal import Fault, Refused, TooLate, heard, judged
from tests.examples import examples

DOCS = Path(__file__).parents[2] / "docs" / "loss-contract.md"


def one(words: str) -> bytes:
    return json.dumps({"error": words}).encode()


def two(code: str, words: str) -> bytes:
    return json.dumps({"code": code, "message": words}).encode()


def three(words: str, *messages: str, number: int = 1) -> bytes:
    data = [
        {"original_line": "depth,sensor=x v", "line_number": number + n, "error_message": text}
        for n, text in enumerate(messages)
    ]
    return json.dumps({"error": words, "data": data}).encode()


CONFLICT = (
    'field type conflict: input field "value" on measurement "depth" is type float, '
    "already exists as type string dropped=1"
)
OUTSIDE = (
    "dropped 4 points outside retention policy of duration 24h0m0s - oldest point "
    "depth,sensor=ruler at 1970-01-01T00:00:01.541Z dropped because it violates a Retention Policy "
    "Lower Bound at 2025-05-20T19:06:17.612973Z, newest point depth,sensor=ruler at "
    "1970-01-01T00:00:01.541Z dropped because it violates a Retention Policy Lower Bound at "
    "2025-05-20T19:06:17.612973Z dropped=4 for database: d for retention policy: autogen"
)
WRITING = "failure writing points to database: partial write: "
UNPROCESSABLE = "unprocessable entity"
PARTIAL_3 = "partial write of line protocol occurred"
TYPE_3 = (
    "invalid column type for column 'value', expected iox::column_type::field::float, got "
    "iox::column_type::field::string"
)

WORDS: list[tuple[int, bytes, Fault | None]] = [
    (400, one(f"partial write: {CONFLICT}"), Fault.READING),
    (422, two(UNPROCESSABLE, WRITING + CONFLICT), Fault.READING),
    (400, one("partial write: points beyond retention policy dropped=2"), Fault.LATE),
    (422, two(UNPROCESSABLE, f"{WRITING}points beyond retention policy dropped=1"), Fault.LATE),
    (400, one(f"partial write: {OUTSIDE}"), Fault.LATE),
    (422, two(UNPROCESSABLE, WRITING + OUTSIDE), Fault.LATE),
    (400, one("partial write: unable to parse 'x': missing fields dropped=0"), Fault.READING),
    (400, one("unable to parse 'x,': missing tag key\nunable to parse 'y'"), Fault.READING),
    (400, two("invalid", "unable to parse 'x v=': missing field value"), Fault.READING),
    (400, two("invalid", "partial write error (2 written): unable to parse 'x'"), Fault.READING),
    (400, one('partial write: key contains invalid unicode: "x" dropped=1'), Fault.READING),
    (400, one("partial write: max key length exceeded: 70000 > 65535"), Fault.READING),
    (400, three(PARTIAL_3, TYPE_3), Fault.READING),
    (400, three(PARTIAL_3, "No fields were provided"), Fault.READING),
    (400, three("parsing for line protocol failed", "No fields were provided"), Fault.READING),
    (400, one("write buffer error: parsing for line protocol failed"), Fault.READING),
    (400, one("parsing failed for write_lp endpoint"), Fault.READING),
    (
        400,
        b'remoteAddr: "127.0.0.1:5"; requestURI: /write?db=d; cannot unmarshal line "x"',
        Fault.READING,
    ),
    (
        400,
        one("partial write: max-series-per-database limit exceeded: (1000000) dropped=1"),
        Fault.REQUEST,
    ),
    (
        400,
        one(
            "partial write: max-values-per-tag limit exceeded (1000/1000): "
            'measurement="depth" tag="sensor" value="partial write: unable to parse" dropped=1'
        ),
        Fault.REQUEST,
    ),
    (
        400,
        one("catalog update error: Adding a new database would exceed limit of 5"),
        Fault.REQUEST,
    ),
    (
        400,
        three(PARTIAL_3, "Update to schema would exceed number of columns per table limit of 500"),
        Fault.REQUEST,
    ),
    (
        400,
        three(
            PARTIAL_3, "table 'depth' is not defined in database 'd', which uses explicit schemas"
        ),
        Fault.REQUEST,
    ),
    (
        500,
        one(
            "Could not modify catalog: column 'value' (iox::column_type::field::float) is not "
            "defined in table 'depth' of database 'd', which uses explicit schemas"
        ),
        Fault.REQUEST,
    ),
    (401, two("unauthorized", "unauthorized access"), Fault.REQUEST),
    (401, one("authorization failed"), Fault.REQUEST),
    (403, one('"u" user is not authorized to write to database "d"'), Fault.REQUEST),
    (404, one('database not found: "d"'), Fault.REQUEST),
    (404, two("not found", 'bucket "city" not found'), Fault.REQUEST),
    (405, b"", Fault.REQUEST),
    (409, b"", Fault.REQUEST),
    (429, two("too many requests", "limit"), Fault.NOW),
    (408, b"", Fault.NOW),
    (500, one("timeout"), Fault.NOW),
    (500, one("engine is closed"), Fault.NOW),
    (500, two("internal error", "unexpected error writing points to database: x"), Fault.NOW),
    (503, two("unavailable", "unable to parse"), Fault.NOW),
    (502, b"<html>502 Bad Gateway</html>", Fault.NOW),
    (400, b"<html>partial write: unable to parse</html>", Fault.NOW),
    (400, b"", Fault.NOW),
    (400, b'{"error":"partial write: unable to par', Fault.NOW),
    (422, b'{"error":["unable to parse"]}', Fault.NOW),
    (400, one("the frobnicator says no"), None),
    (400, one("partial write: shard is disabled dropped=3"), None),
    (422, two(UNPROCESSABLE, "something of a later release"), None),
]


def fault_of(status: int, body: bytes, lines: int = 4) -> Fault | None:
    row = judged(status, heard(body, lines), lines)
    return None if row is None else row.fault


@pytest.mark.parametrize(("status", "body", "fault"), WORDS)
def test_in_the_words_of_all_versions(status: int, body: bytes, fault: Fault | None) -> None:
    assert fault_of(status, body) == fault


def test_the_docs_have_the_table() -> None:
    assert f"\n{refusal.as_table()}\n" in DOCS.read_text()


def test_each_row_is_met() -> None:
    met = {judged(status, heard(body, 4), 4) for status, body, _ in WORDS}
    met |= {judged(413, None, n) for n in (1, 2)} | {judged(302, None, 1)}
    met |= {*refusal.BY_OWN_LINE.values()}
    assert met - {None} == {*refusal.TABLE, *refusal.BY_STATUS}


NAMES = (
    "partial write: field type conflict",
    "points beyond retention policy dropped=4",
    "max-series-per-database limit exceeded",
    "Adding a new table would exceed limit",
    "x\": unable to parse ' dropped=4",
    "dropped=4",
    "</html>",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_a_server_quotes_changes_no_verdict(name: str) -> None:
    """Names of sensors are whatever somebody has written."""
    for status, text, fault in (
        (400, f"partial write: unable to parse '{name}': no", Fault.READING),
        (400, f"partial write: max-values-per-tag limit exceeded: value={name!r}", Fault.REQUEST),
        (400, f"partial write: dropped 1 points outside retention policy - {name}", Fault.LATE),
        (400, f"hinted handoff queue is full for {name}", None),
        (401, f"unable to see {name}", Fault.REQUEST),
        (500, f"timeout: {name}", Fault.NOW),
    ):
        assert fault_of(status, one(text)) is fault
        answer = heard(one(f"{text} (1/2)"), 4)
        assert answer is not None
        assert answer.dropped is None


def test_what_is_said_of_lines_that_were_not_sent_condemns_none() -> None:
    assert fault_of(400, three(PARTIAL_3, TYPE_3, number=5), 4) is None
    assert fault_of(400, three(PARTIAL_3, TYPE_3, number=0), 4) is None
    assert fault_of(400, three(PARTIAL_3, TYPE_3, number=4), 4) is Fault.READING
    for said, meant in ((4, 4), (5, None), (0, None), (10**40, None)):
        answer = heard(one(f"partial write: field type conflict dropped={said}"), 4)
        assert answer is not None
        assert answer.dropped == meant


def test_a_line_that_is_too_large_alone_is_no_readings_fault() -> None:
    assert fault_of(413, b"<html>413</html>", 2) is Fault.READING
    assert fault_of(413, b"<html>413</html>", 1) is Fault.REQUEST


def refused(status: int, body: bytes, lines: int, date: str = "") -> Refused:
    return Refused("http://db", status, "no", heard(body, lines), lines, {"Date": date})


@pytest.mark.parametrize(
    ("date", "raised"),
    [
        ("", TooLate),
        ("nonsense", TooLate),
        ("Thu, 01 Jan 2026 00:10:00 GMT", TooLate),
        ("Thu, 01 Jan 2026 06:00:00 GMT", Unavailable),
        ("Sat, 01 Jan 2050 00:00:00 GMT", Unavailable),
    ],
)
def test_a_server_whose_clock_is_wrong_says_not_what_is_too_old(
    date: str, raised: type[Exception]
) -> None:
    error = refused(400, one("partial write: points beyond retention policy dropped=1"), 1, date)
    row = judged(error.status, error.answer, error.lines)
    assert row is not None
    found = error.as_judged(row, 1_767_225_600.0)
    assert isinstance(found, raised)
    assert isinstance(found, TooLate) or (isinstance(found, Unavailable) and found.of_the_request)


@examples(60)
@given(
    st.integers(300, 599),
    st.binary(max_size=40)
    | st.text(max_size=40).map(one)
    | st.recursive(
        st.none() | st.text(max_size=9) | st.integers(),
        lambda some: (
            st.dictionaries(
                st.sampled_from(["error", "data", "message", "line_number", "error_message"]), some
            )
            | st.lists(some)
        ),
        max_leaves=9,
    ).map(lambda said: json.dumps(said).encode()),
    st.integers(1, 5),
)
def test_no_answer_is_an_error_of_ours(status: int, body: bytes, lines: int) -> None:
    """And what no row condemns in a reading is no reading's fault."""
    answer = heard(body, lines)
    row = judged(status, answer, lines)
    if row is None:
        assert status in (400, 422)
        assert answer is not None
    elif row.fault in (Fault.READING, Fault.LATE):
        assert status in (400, 413, 422)
    else:
        assert isinstance(refused(status, body, lines).as_judged(row, 0.0), Unavailable)


RAISED: dict[str, type[sqlite3.Error]] = {
    "CONSTRAINT": sqlite3.IntegrityError,
    "MISMATCH": sqlite3.IntegrityError,
    "TOOBIG": sqlite3.DataError,
    "CORRUPT": sqlite3.DatabaseError,
    "NOTADB": sqlite3.DatabaseError,
}
"""What Python's sqlite3 raises for a result code; OperationalError for the others."""


async def test_the_embedded_store_judges_as_the_table_says(tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        for code, fault in refusal.SQLITE.items():
            error = RAISED.get(code, sqlite3.OperationalError)(code)

            def work(_: Any, error: sqlite3.Error = error) -> None:
                raise DBAPIError.instance("INSERT", (), error, sqlite3.Error)

            with pytest.raises(Rejected if fault is Fault.READING else Unavailable):
                await database.run(work)


def _too_big(held: Any) -> None:
    held.connection.driver_connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100)
    held.exec_driver_sql("SELECT length(?)", ("x" * 200,))


def _twice(held: Any) -> None:
    held.exec_driver_sql("CREATE TABLE once (a PRIMARY KEY)")
    held.exec_driver_sql("INSERT INTO once VALUES (1), (1)")


def _full(held: Any) -> None:
    held.exec_driver_sql("PRAGMA max_page_count = 1")
    held.exec_driver_sql("CREATE TABLE more AS SELECT randomblob(1000000) AS a")


def _read_only(held: Any) -> None:
    held.exec_driver_sql("PRAGMA query_only = ON")
    held.exec_driver_sql("CREATE TABLE more (a)")


@pytest.mark.parametrize(
    ("work", "raised"),
    [
        (_too_big, Rejected),
        (_twice, Rejected),
        (_full, Unavailable),
        (_read_only, Unavailable),
    ],
)
async def test_what_sqlite_itself_raises(
    work: Any, raised: type[Exception], tmp_path: Path
) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        with pytest.raises(raised):
            await database.run(work)
