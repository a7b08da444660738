"""`shuichi alert`: what a person sees and can demand, where no service runs."""

import asyncio
import json
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

import shuichi
from cloud import alertcli, config
from cloud.alerts import demands
from cloud.alerts.hazard import Hazard
from cloud.alerts.office import dispatch_of
from cloud.desk import Clerk
from cloud.service import opened
from configs import loader
from configs.loader import UserError
from tests import duty_room
from tests.duty_room import SITE
from wire.messages import Level

PLAN = loader.HERE / "plans" / "example-city.toml"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")

    async def prepare():
        async with duty_room.opened(folder) as room:
            await room.find(Level.RED)
            await room.find(Level.BLUE, site="daping-slope", hazard=Hazard.LANDSLIDE)

    asyncio.run(prepare())
    return folder


@pytest.fixture
def file(tmp_path, prepared):
    """A config whose state has a red alert, which nobody has answered."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    written = tmp_path / "cloud.toml"
    written.write_text(f"[alerts]\nplan = '{PLAN}'\n")
    return written


def run(file, command, *words):
    """What a command prints, and its exit code."""
    arguments = [command, "--config", str(file), *words]
    result = CliRunner(env={"COLUMNS": "100"}).invoke(alertcli.alert, arguments)
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.output, result.exit_code


def alerts(file, *words):
    return json.loads(run(file, "list", "--json", *words)[0])


def test_list_shows_the_worst_first_and_says_by_its_code_that_somebody_must_answer(file):
    out, code = run(file, "list")
    assert code == 1
    assert out.index("RED  daping-underpass, underpass, now: active-unacknowledged") < out.index(
        "BLUE  daping-slope"
    )
    assert "called now: daping-shiqiao-3" in out
    assert [one["level"] for one in alerts(file)] == ["red", "blue"]


def test_ack_ends_the_calls_and_is_shown(file):
    red, blue = (one["id"] for one in alerts(file))
    out, code = run(file, "ack", red, "--by", "Li Wei", "--said", "on my way")
    assert (out, code) == ("answered: the calls have ended\n", 0)
    assert run(file, "ack", blue, "--by", "Li Wei")[1] == 0
    out, code = run(file, "list")
    assert code == 0
    assert "answered by Li Wei" in out
    out, code = run(file, "show", red)
    assert code == 0
    assert "answer  Li Wei" in out
    assert "on my way; command line," in out
    lines = json.loads(run(file, "show", red, "--json")[0])
    assert [line["kind"] for line in lines][-1] == "answer"


def test_an_incident_is_shown_by_its_name(file):
    (incident, _), code = json.loads(run(file, "incidents", "--json")[0]), 0
    assert incident["alerts"]
    out, code = run(file, "show", incident["id"])
    assert (code, "incident\n" in out) == (0, True)
    out, code = run(file, "incidents", "--since", "1h")
    assert (code, incident["id"] in out) == (0, True)
    assert "open, 1 alert\n" in out
    assert run(file, "incidents", "--since", "2031-01-01")[0] == "no incidents\n"


@pytest.mark.parametrize(
    ("hold", "release", "status"),
    [
        (("shelve", "--minutes", "30"), "unshelve", "shelved"),
        (("suppress",), "unsuppress", "suppressed-by-design"),
        (("out-of-service", "--minutes", "60"), "return-to-service", "out-of-service"),
    ],
)
def test_hold_back_and_let_go(file, hold, release, status):
    place = (SITE, "underpass", "--by", "Li", "--reason", "works")
    out, code = run(file, hold[0], *place, *hold[1:])
    assert (out, code) == ("it is at red, which rings: hold back up to red if that is meant\n", 1)
    out, code = run(file, hold[0], *place, *hold[1:], "--up-to", "red")
    assert (out, code) == (f"{status}\n", 0)
    assert next(one for one in alerts(file) if one["site"] == SITE)["status"] == status
    assert next(one for one in alerts(file) if one["site"] == SITE)["phase"] == "held"
    out, code = run(file, release, *place)
    assert (out, code) == ("active-unacknowledged\n", 0)
    out, code = run(file, release, *place)
    assert (out, code) == ("it is not held back\n", 1)


def test_holds_are_made_listed_and_ended(file):
    assert run(file, "holds") == ("nothing is held back\n", 0)
    words = ("--area", "daping", "--minutes", "90", "--by", "Li Wei", "--reason", "new ruler")
    out, code = run(file, "hold", *words)
    assert code == 0
    assert out.startswith("hold 1: area daping, up to orange, from ")
    assert out.endswith(": new ruler; 0 alerts are held back now\n")  # what stands is red
    out, code = run(file, "hold", *words, "--up-to", "red")
    assert (out.endswith("1 alert is held back now\n"), code) == (True, 0)
    out, code = run(file, "list")
    assert "held back by Li Wei (hold 2) until " in out
    assert out.count(": new ruler") == 1
    assert code == 1  # the slope rings
    out, code = run(file, "holds")
    assert out.index("hold 1  in force: area daping, up to orange") < out.index("hold 2")
    assert "by Li Wei: new ruler" in out
    found = json.loads(run(file, "holds", "--json")[0])
    assert [len(one["alerts"]) for one in found] == [0, 1]
    out, code = run(file, "release", "2", "--by", "Wang", "--reason", "done early")
    assert (out, code) == ("hold 2 is over: what still stands rings\n", 0)
    assert run(file, "release", "2", "--by", "Wang") == ("hold 2 is over already\n", 1)
    out, code = run(file, "holds", "--past")
    assert ("by Wang: done early" in out, "hold 1" in out) == (True, False)
    red = next(one for one in alerts(file) if one["site"] == SITE)
    assert (red["status"], red["phase"], red["held_by"]) == ("active-unacknowledged", "ringing", [])


def test_a_hold_may_lie_ahead(file):
    when = ("--from", "2199-12-01 22:00", "--to", "2199-12-02 02:00")
    words = ("--site", SITE, "--by", "Li", "--reason", "works")
    with pytest.raises(UserError, match="366 days ahead"):
        run(file, "hold", *words, *when)
    soon = datetime.now(UTC) + timedelta(days=30)
    day = f"{soon:%Y-%m-%d}"
    out, code = run(file, "hold", *words, "--from", f"{day} 22:00", "--minutes", "240")
    assert (code, f"from {day} 22:00 +08:00 to" in out) == (0, True)
    (one,) = json.loads(run(file, "holds", "--json")[0])
    assert (one["state"], one["end_ms"] - one["begin_ms"]) == ("ahead", 240 * 60_000)


def test_a_shelf_has_bounds(file):
    place = (SITE, "underpass", "--by", "Li")
    out, code = run(file, "shelve", *place, "--minutes", "2000")
    assert (out, code) == ("it may be shelved for 24 h at most\n", 1)


def test_an_exercise_runs_beside_the_real_thing_and_ends(file):
    place = ("--site", SITE, "--hazard", "underpass")
    alert, code = run(file, "exercise", *place, "--level", "orange")
    assert code == 0
    assert "EXERCISE ORANGE  daping-underpass" in run(file, "list")[0]
    assert run(file, "ack", alert.strip(), "--by", "Li")[1] == 0
    assert run(file, "exercise", *place, "--end")[1] == 0
    real = [one for one in alerts(file) if not one["exercise"] and one["site"] == SITE]
    assert [one["status"] for one in real] == ["active-unacknowledged"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "none"), "none: there is no such alert or incident"),
        (("ack", "none"), "Missing option '--by'"),
        (("ack", "none", "--by", " "), "is empty"),
        (("ack", "none", "--by", "\u200b"), "has no letters"),
        (("ack", "none", "--by", "\udcff"), "is not text in UTF-8"),
        (("shelve", SITE, "underpass", "--by", "Li"), "Missing option '--minutes'"),
        (("shelve", SITE, "underpass", "--by", "Li", "--minutes", "nan"), "--minutes nan: is not"),
        (("shelve", SITE, "underpass", "--by", "Li", "--minutes", "-5"), "--minutes -5: is not"),
        (("shelve", SITE, "flood", "--by", "Li", "--minutes", "5"), "'flood' is not one of"),
        (("suppress", "dapin-underpass", "underpass", "--by", "Li"), "is no site of the plan"),
        (("hold", "--site", SITE, "--by", "Li", "--minutes", "5"), "Missing option '--reason'"),
        (("hold", "--site", SITE, "--by", "Li", "--reason", "x"), "give either --minutes or --to"),
        (("hold", "--by", "Li", "--reason", "x", "--minutes", "5"), "else all would be held back"),
        (
            ("hold", "--area", "dapin", "--by", "Li", "--reason", "x", "--minutes", "5"),
            "'dapin' is no area of the plan (did you mean 'daping'?)",
        ),
        (("release", "0", "--by", "Li"), "Invalid value for 'HOLD'"),
        (("exercise", "--site", SITE, "--hazard", "underpass"), "either --level or --end"),
        (
            ("exercise", "--site", "nowhere", "--hazard", "river", "--level", "red"),
            "'nowhere' is no site of the plan",
        ),
        (("incidents", "--since", "yesterday"), "--since yesterday: is neither"),
    ],
)
def test_what_cannot_be_is_one_line_and_code_2(file, words, says, monkeypatch, capsys):
    command, *rest = words
    monkeypatch.setattr(sys, "argv", ["shuichi", "alert", command, "--config", str(file), *rest])
    with pytest.raises(SystemExit) as ended:
        shuichi.main()
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n"), says in error) == (2, 1, True), error


def test_an_unknown_alert_is_not_answered(file):
    assert run(file, "ack", "none", "--by", "Li") == ("there is no alert none\n", 1)


def test_replies_that_answer_nothing_can_be_read(file, tmp_path):
    assert run(file, "replies") == ("no replies\n", 0)

    async def hear():
        async with duty_room.opened(tmp_path) as room:
            words = ("reply", "sms, 139", "who is this?: no call to this number is open")
            await room.run(room.dispatch.remark, *words, room.now_ms)

    asyncio.run(hear())
    out, code = run(file, "replies")
    assert (code, "who is this?: no call" in out) == (0, True)
    assert len(json.loads(run(file, "replies", "--json")[0])) == 1


def test_without_a_state_it_says_so(tmp_path, monkeypatch, capsys):
    written = tmp_path / "cloud.toml"
    written.write_text("")
    monkeypatch.setattr(sys, "argv", ["shuichi", "alert", "list", "--config", str(written)])
    with pytest.raises(SystemExit) as ended:
        shuichi.main()
    assert ended.value.code == 2
    assert "has `shuichi cloud run` run yet?" in capsys.readouterr().err


def test_an_answer_counts_while_the_plan_is_being_edited(file):
    plan = file.parent / "plan.toml"
    plan.write_text(PLAN.read_text("utf-8"), "utf-8")
    file.write_text("[alerts]\nplan = 'plan.toml'\n")
    red = alerts(file)[0]["id"]

    async def answer():
        setup = config.read(file)
        async with opened(setup) as (database, store):
            dispatch = await dispatch_of(setup, database)
            plan.write_text("title = ", "utf-8")
            clerk = Clerk(setup, database, store, "li", dispatch=dispatch)
            return await demands.ANSWER.run(clerk, demands.Answer(red, "Li Wei"))

    assert asyncio.run(answer()).ok


def test_what_has_gone_and_was_never_answered_still_wants_an_answer(tmp_path):
    async def prepare():
        async with duty_room.opened(tmp_path) as room:
            await room.find(Level.RED)
            await room.find(None)
            await room.pass_time(11)

    asyncio.run(prepare())
    written = tmp_path / "cloud.toml"
    written.write_text(f"[alerts]\nplan = '{PLAN}'\n")
    out, code = run(written, "list")
    assert (code, "returned-unacknowledged" in out) == (1, True)


def test_an_exercise_takes_figures_for_its_placeholders(file):
    where = ("--site", SITE, "--hazard", "underpass")
    out, code = run(file, "exercise", *where, "--level", "red", "--value", "depth_cm=35")
    assert code == 0
    with closing(sqlite3.connect(file.parent / "cloud.db")) as database:
        found = database.execute(
            "SELECT message FROM outgoing WHERE key LIKE ?", (f"{out[:-1]}/%",)
        )
        messages = [row[0] for row in found]
    assert messages
    assert all("积水35厘米" in one for one in messages if "sms" in one)
    with pytest.raises(UserError, match="is not written as depth_cm=32"):
        run(file, "exercise", *where, "--level", "red", "--value", "35")


def test_every_time_has_its_zone(file):
    (one, *_) = alerts(file)
    for words in (("list",), ("show", one["id"]), ("incidents",)):
        out, _ = run(file, *words)
        times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?(.{7})", out)
        assert times
        assert all(re.fullmatch(r" [+-]\d\d:\d\d", one) for one in times), out
