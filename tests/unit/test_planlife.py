"""A plan comes into force while the service runs; what it changes, and what was before."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner

from cloud import config, plancli, state, tables
from cloud.alerts import keptplans, plandiff, planlife
from cloud.alerts.hazard import Hazard
from cloud.desk import Clerk
from configs.loader import UserError
from tests import plans
from tests.dispatching import PLAN, Office
from wire.messages import Level

NOBODY: Any = None
"""Is not asked."""


def changed(**contact):
    """The example city with another keeper of the grid."""
    tables = PLAN.model_dump(mode="json", exclude_none=True)
    tables["contact"]["zhou-qing"] |= contact
    return plans.made(tables)


def test_a_diff_names_each_change():
    tables = PLAN.model_dump(mode="json", exclude_none=True)
    tables["contact"]["he-lan"]["channels"] = ["voice"]
    tables["contact"]["new"] = tables["contact"]["lu-ming"] | {"name": "新人"}
    del tables["contact"]["bai-ning"]
    tables["tier"]["grid"]["retry_every_min"] = 2
    assert plandiff.lines(PLAN, PLAN) == []
    assert plandiff.lines(PLAN, plans.made(tables)) == [
        "  contact.he-lan.channels: sms, voice -> voice",
        "- contact.bai-ning (白宁)",
        "+ contact.new (新人)",
        "  tier.grid.retry_every_min: 1 -> 2",
    ]


def test_what_has_begun_keeps_its_plan_and_what_begins_has_the_new_one():
    office = Office()
    office.find(Level.RED)
    told: list[str] = []
    office.dispatch.on_plan.append(lambda one: told.append(one.version))
    fresh = changed(name="周晴")
    office.dispatch.use(fresh)
    assert told == [fresh.version]
    office.find(Level.RED, site="daping-slope", hazard=Hazard.LANDSLIDE)
    versions = {row.state.split('"plan":"')[1][:16] for row in office.rows(tables.escalation)}
    assert versions == {PLAN.version, fresh.version}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cloud.toml").write_text('[alerts]\nplan = "plan.toml"\n')
    (tmp_path / "plan.toml").write_text(plancli.EXAMPLE.read_text())
    return tmp_path


async def test_a_good_plan_comes_into_force_and_a_bad_one_changes_nothing(folder):
    office = Office()
    setup = config.read(folder / "cloud.toml")
    woken: list[int] = []
    async with state.opened(folder / "cloud.db") as database:
        clerk = Clerk(setup, database, NOBODY, "me", lambda: woken.append(1), office.dispatch)
        same = await planlife.reload(clerk, planlife.Reload())
        assert (same.ok, "as before" in same.text) == (True, True)
        file = folder / "plan.toml"
        good = file.read_text()
        file.write_text(good.replace('name = "周青"', 'name = "周晴"'))
        done = await planlife.reload(clerk, planlife.Reload())
        assert done.text.endswith("with 1 change")
        assert office.dispatch.plan.contact["zhou-qing"].name == "周晴"
        file.write_text(good.replace('area = "daping-shiqiao-3"', 'area = "nowhere"'))
        before = office.dispatch.plan
        with pytest.raises(UserError, match="'nowhere' is not an area"):
            await planlife.reload(clerk, planlife.Reload())
        assert office.dispatch.plan is before
        found = await database.run(planlife.versions)
        assert [one.in_force for one in found] == [True, False]
        assert found[0].version == before.version
        old = await database.run(partial(planlife.of, version=found[1].version[:6]))
        assert old.contact["zhou-qing"].name == "周青"
        with pytest.raises(UserError, match="there is none"):
            await database.run(partial(planlife.of, version="zz"))


async def test_without_a_service_it_says_what_to_do(folder):
    setup = config.read(folder / "cloud.toml")
    with pytest.raises(UserError, match="when it starts"):
        await planlife.reload(Clerk(setup, NOBODY, NOBODY, "me"), planlife.Reload())


def run(*words):
    result = CliRunner(env={"COLUMNS": "100"}).invoke(plancli.group, [*map(str, words)])
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.output, result.exit_code


def test_the_commands(folder):
    file = folder / "cloud.toml"

    async def keep():
        async with state.opened(folder / "cloud.db") as database:
            kept = partial(keptplans.come_into_force, plan=PLAN, now_ms=1_750_000_000_000)
            await database.run(kept)

    asyncio.run(keep())
    assert run("diff", "--config", file, folder / "plan.toml") == ("nothing changes\n", 0)
    (folder / "plan.toml").write_text(
        (folder / "plan.toml").read_text().replace('name = "周青"', 'name = "周晴"')
    )
    out, code = run("diff", "--config", file, folder / "plan.toml")
    assert (out, code) == ("  contact.zhou-qing.name: 周青 -> 周晴\n", 1)
    out, code = run("versions", "--config", file)
    assert (code, "in force" in out, PLAN.version in out) == (0, True, True)
    out, _ = run("who", "--config", file, "--at", "2026-07-01 03:00", "--site", "daping-underpass")
    assert out.splitlines()[0] == "2026-07-01 03:00 (Asia/Shanghai)"
    assert [line.strip() for line in out.splitlines()[1:3]] == [
        "石桥社区第3网格 (daping-shiqiao-3)",
        "何岚 (he-lan): night: daily 20:00-08:00",
    ]
    found = json.loads(run("who", "--config", file, "--area", "dongjiang", "--json")[0])
    assert found[0]["members"] == [
        "dongjiang-duty-day",
        "dongjiang-duty-night",
        "dongjiang-traffic",
    ]
    for words in (("--area", "x"), ("--site", "x"), ("--area", "hekou", "--site", "daping-slope")):
        with pytest.raises(UserError):
            run("who", "--config", file, *words)
