"""Log lines: for people, for the journal, and JSON."""

import json
import logging
import subprocess
import sys

import pytest

from configs import logs
from configs.logs import Style


def line(style, level=logging.WARNING, error=None, **about):
    record = logging.makeLogRecord(
        {
            "name": "shuichi.bus",
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": "%s: silent",
            "args": ("ruler-1",),
            "created": 1782000000.25,
            "exc_info": error,
            **about,
        }
    )
    return logs.FORMATTERS[style]().format(record)


def test_people_read_a_plain_line():
    assert line(Style.HUMAN, sensor="ruler-1") == "WARNING shuichi.bus: ruler-1: silent"


def test_the_journal_gets_a_priority_and_what_the_line_is_about():
    assert line(Style.JOURNAL) == "<4>shuichi.bus: ruler-1: silent"
    said = line(Style.JOURNAL, logging.ERROR, sensor="ruler-1", port="bus", unknown=1)
    assert said == "<3>shuichi.bus: ruler-1: silent (port=bus sensor=ruler-1)"


def test_json_is_one_object_with_its_fields():
    said = line(Style.JSON, site="here", sensor="ruler-1")
    assert "\n" not in said
    assert json.loads(said) == {
        "at": "2026-06-21T00:00:00.250+00:00",
        "level": "warning",
        "logger": "shuichi.bus",
        "message": "ruler-1: silent",
        "site": "here",
        "sensor": "ruler-1",
    }


def test_a_trace_stays_with_its_line():
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        error = sys.exc_info()
    in_journal = line(Style.JOURNAL, logging.CRITICAL, error).splitlines()
    assert len(in_journal) > 3
    assert all(part.startswith("<2>") for part in in_journal)
    assert "ValueError: first\nsecond" in json.loads(line(Style.JSON, error=error))["trace"]


@pytest.mark.parametrize(("chosen", "start"), [("human", "WARNING"), ("json", "{"), (None, "<4>")])
def test_the_journal_is_known_by_its_file(tmp_path, chosen, start):
    program = (
        "import os, sys, logging\n"
        "from configs import logs\n"
        "status = os.fstat(2)\n"
        "os.environ['JOURNAL_STREAM'] = f'{status.st_dev}:{status.st_ino}'\n"
        f"logs.start({chosen!r})\n"
        "logging.warning('x')\n"
    )
    with (tmp_path / "log").open("w+") as log:
        subprocess.run([sys.executable, "-c", program], stderr=log, check=True)
        log.seek(0)
        assert log.read().startswith(start)


def test_stderr_that_leads_elsewhere_is_for_people(tmp_path):
    program = (
        "import os, logging\n"
        "from configs import logs\n"
        "os.environ['JOURNAL_STREAM'] = '8:12345'\n"
        "logs.start()\n"
        "logging.warning('x')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "WARNING root: x\n"


UNREAD = """
import logging, sys
from configs import logs
logs.start("human")
for number in range(20_000):
    logging.getLogger("shuichi").info("line %d", number)
print("goes on", flush=True)
sys.stdin.read()
logging.getLogger().handlers[0].flush()
logging.getLogger("shuichi").info("the last")
"""


def test_a_log_that_nobody_reads_keeps_nobody_waiting():
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "goes on\n"
        _, log = program.communicate("", timeout=60)
    assert program.returncode == 0
    lines = log.splitlines()
    assert lines[0] == "INFO shuichi: line 0"
    assert any("log lines are left out" in line for line in lines)
    assert lines[-1] == "INFO shuichi: the last"


def test_a_program_whose_log_nobody_reads_ends():
    quits = UNREAD.replace("sys.stdin.read()", "sys.exit()")
    with subprocess.Popen(
        [sys.executable, "-c", quits], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as program:
        assert program.wait(timeout=60) == 0
