"""`shuichi cloud check`, as somebody reads it who has a fault to find."""

import asyncio

import pytest
from click.testing import CliRunner

from cloud import state
from cloud.alerts import keptplans, plan
from cloud.cli import cloud
from configs import loader

PLAN = (loader.HERE / "plans" / "example-city.toml").read_text("utf-8")
CONFIG = """
[alerts]
plan = "plan.toml"
[channel.sms]
kind = "wecom"
token_file = "sms.token"
[channel.voice]
kind = "log"
[channel.email]
kind = "log"
[channel.duty-room]
kind = "wecom"
token_file = "env:NO_SUCH_KEY_HERE"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN, "utf-8")
    (tmp_path / "cloud.toml").write_text(CONFIG)
    (tmp_path / "sms.token").write_text("a-token-that-nobody-may-see")
    (tmp_path / "sms.token").chmod(0o600)
    return tmp_path


def check(folder):
    done = CliRunner().invoke(cloud, ["check", "--config", str(folder / "cloud.toml")])
    return done.output, str(done.exception or "")


def test_plan_channels_secrets_and_heartbeat_have_a_line_each(folder):
    out, fault = check(folder)
    assert fault == ""
    lines = out.splitlines()
    assert "no faults" in lines[0]
    assert "3 sites, 7 areas, 10 contacts" in lines[1]
    assert "channel sms: wecom; secret sms.token is there; for 7 contacts of the plan" in lines
    assert "channel voice: log; no secret; for 9 contacts of the plan" in lines
    (missing,) = [line for line in lines if "MISSING" in line]
    assert missing.startswith("channel duty-room: wecom; secret env:NO_SUCH_KEY_HERE is MISSING")
    assert "heartbeat: none" in out
    assert "nobody-may-see" not in out


def test_a_secret_that_is_missing_is_seen_and_who_depends_on_it(folder):
    (folder / "sms.token").unlink()
    text = PLAN.replace('channels = ["sms", "voice"]', 'channels = ["sms"]')
    (folder / "plan.toml").write_text(text, "utf-8")
    out, _ = check(folder)
    assert f"secret sms.token is MISSING ({folder / 'sms.token'}): No such file" in out
    assert "until it is there, what goes by this channel waits" in out
    assert "nobody can be told by any channel of: " in out


def test_with_a_broken_plan_it_says_which_one_serves(folder):
    (folder / "plan.toml").write_text("[area.x]\n")
    out, fault = check(folder)
    assert "plan.toml cannot be used. There is no earlier one: everybody who has a channel" in out
    assert "plan.toml: title: is missing" in fault
    assert "channel sms: wecom; secret sms.token is there" in out


async def test_the_last_good_plan_is_named(folder):
    good = plan.parse(plan.read(loader.HERE / "plans" / "example-city.toml").model_dump_json())
    async with state.opened(folder / "cloud.db") as database:
        await database.run(lambda c: keptplans.come_into_force(c, good, 1_750_000_000_000))
    (folder / "plan.toml").write_text("[area.x]\n")
    out, _ = await asyncio.to_thread(check, folder)
    assert (
        f"The last good one serves meanwhile: version {good.version}, in force since 2025-" in out
    )


def test_a_broken_channel_is_left_out_and_the_rest_is_shown(folder):
    broken = CONFIG.replace('token_file = "sms.token"', 'tokn_file = "sms.token"')
    (folder / "cloud.toml").write_text(broken)
    out, fault = check(folder)
    assert out.splitlines()[0].startswith(f"{folder}/cloud.toml: 2 faults, see below")
    assert "`cloud run --unattended` starts all the same" in out
    assert "channel sms: MISSING: the plan uses it" in out
    assert "channel voice: log" in out
    assert "channel.sms.tokn_file: is not a key here (did you mean 'token_file'" in fault


def test_what_cannot_be_read_at_all_is_one_line(folder):
    (folder / "cloud.toml").write_text("[channel\n")
    out, fault = check(folder)
    assert out == ""
    assert fault.count("\n") == 0
    assert "is not TOML" in fault


def test_the_heartbeat_is_shown_with_what_is_wrong_with_it(folder):
    more = '[heartbeat.daily]\nchannel = "voice"\ncontacts = ["he-lan", "nobody"]\n'
    (folder / "cloud.toml").write_text(CONFIG + more)
    out, _ = check(folder)
    assert "heartbeat: the all-well message at 08:00 by voice to he-lan\n" in out
    assert "  [heartbeat.daily] contacts: 'nobody' is no contact of the plan" in out
