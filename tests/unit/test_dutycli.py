"""`shuichi duty` and what `plan who` and `plan check` make of it."""

import json
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from cloud import dutycli, plancli
from cloud.alerts import rosterchild, rosterfile
from configs.loader import UserError

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAYS = [f"{datetime.now(SHANGHAI) + timedelta(days=30 + n):%Y-%m-%d}" for n in range(10)]
HERE = "石桥社区第3网格 (daping-shiqiao-3)"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cloud.toml").write_text('[alerts]\nplan = "plan.toml"\n')
    (tmp_path / "plan.toml").write_text(plancli.EXAMPLE.read_text())
    return tmp_path


def run(group, folder, *words):
    name, *rest = map(str, words)
    runner = CliRunner(env={"COLUMNS": "200"})
    result = runner.invoke(group, [name, "--config", str(folder / "cloud.toml"), *rest])
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.output, result.exit_code


def duty(folder, *words):
    out, code = run(dutycli.group, folder, *words)
    assert code == 0, out
    return out


def test_an_absence_and_a_cover_are_made_shown_and_removed(folder):
    out = duty(
        *(folder, "absence", "he-lan", "--from", DAYS[1], "--until", DAYS[8]),
        *("--by", "王刚", "--said", "出差"),
    )
    assert out.splitlines()[0] == (
        f"1: 何岚 (he-lan) is absent from {DAYS[1]} 00:00 to {DAYS[9]} 00:00 (Asia/Shanghai)"
    )
    assert duty(folder, "cover", "白宁", "--for", "he-lan", "--on", DAYS[3], "--by", "王刚")
    who = ("who", "--site", "daping-underpass", "--at", f"{DAYS[3]} 22:00")
    shown = [line.strip() for line in run(plancli.group, folder, *who)[0].splitlines()]
    assert shown[0] == f"{DAYS[3]} 22:00 (Asia/Shanghai)"
    assert HERE in shown
    assert (
        "白宁 (bai-ning): night: daily 20:00-08:00; covers 何岚 (he-lan), change 2 by 王刚" in shown
    )
    assert f"away: 何岚 (he-lan), absent until {DAYS[9]} 00:00, change 1 by 王刚: 出差" in shown
    out = duty(folder, "list")
    assert "planned" in out
    assert "by 王刚" in out
    assert "removed" in duty(folder, "remove", "2", "--by", "王刚")
    assert "2 " not in duty(folder, "list").split("\n")[0]
    rows = json.loads(duty(folder, "list", "--all", "--json"))
    assert [(row["number"], row["stands"].split(" ")[0]) for row in rows] == [
        (2, "removed"),
        (1, "planned"),
    ]
    found = json.loads(run(plancli.group, folder, *who, "--json")[0])[0]
    assert found["away"][0]["change"] == 1


def test_a_swap_and_a_cover_of_an_area(folder):
    out = duty(
        *(folder, "swap", "dongjiang-duty-day", "dongjiang-duty-night", "--on", DAYS[4]),
        *("--by", "王刚"),
    )
    assert out.count("in a swap") == 2
    out = duty(
        folder, "cover", "bai-ning", "--area", "dongjiang", "--until", "+12h", "--by", "王刚"
    )
    assert "beside those on duty" in out
    found = json.loads(run(plancli.group, folder, "who", "--area", "dongjiang", "--json")[0])[0]
    assert "bai-ning" in found["on_duty"]
    assert found["people"][-1]["why"].startswith("covers ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("absence", "he-lann", "--until", "+1h", "--by", "x"), "did you mean 'he-lan'"),
        (("cover", "he-lan", "--for", "he-lan", "--until", "+1h", "--by", "x"), "themselves"),
        (("remove", "1", "--by", "x"), "there is no change 1"),
    ],
)
def test_mistakes_are_one_line(folder, words, says):
    with pytest.raises(UserError) as refused:
        run(dutycli.group, folder, *words)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_plan_without_the_contact_is_told_by_plan_check(folder):
    checked = ("check", folder / "plan.toml")
    assert "duty change" not in run(plancli.group, folder, *checked)[0]
    duty(folder, "cover", "lu-ming", "--for", "he-lan", "--until", "+2d", "--by", "王刚")
    assert "duty change" not in run(plancli.group, folder, *checked)[0]
    text = (folder / "plan.toml").read_text()
    (folder / "other.toml").write_text(text.replace("contact.lu-ming", "contact.lu-xin"))
    out, code = run(plancli.group, folder, "check", folder / "other.toml")
    assert "duty change 1: the plan has no contact 'lu-ming', so it is left out" in out
    assert code == 1


def calendar(*days, who="何岚"):
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", "X-WR-CALNAME:值班表"]
    for day in days:
        plain = day.replace("-", "")
        lines += ["BEGIN:VEVENT", f"UID:{day}", f"SUMMARY:{who}"]
        lines += [f"DTSTART:{plain}T080000", f"DTEND:{plain}T120000", "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


def test_a_calendar_is_imported_shown_before_and_imported_again(folder, monkeypatch):
    monkeypatch.setattr(rosterchild, "read", rosterfile.read)  # no process each time
    file = folder / "roster.ics"
    file.write_text(calendar(DAYS[1], DAYS[3]))
    duty(folder, "cover", "bai-ning", "--for", "lu-ming", "--until", "+1h", "--by", "王刚")
    words = ("import", file, "--by", "王刚")
    out = duty(folder, *words, "--dry-run")
    assert out.splitlines()[:2] == [
        f"{DAYS[1]} 08:00 to {DAYS[1]} 12:00  何岚 (he-lan), {HERE}",
        f"{DAYS[3]} 08:00 to {DAYS[3]} 12:00  何岚 (he-lan), {HERE}",
    ]
    assert "nothing is changed" in out
    assert "2: 何岚 (he-lan) has 2 duties" in duty(folder, *words)
    assert duty(folder, *words) == "nothing changes: it was imported before\n"
    who = ("who", "--area", "daping-shiqiao-3", "--at", f"{DAYS[3]} 09:00")
    assert "何岚 (he-lan): roster '值班表'" in run(plancli.group, folder, *who)[0]
    file.write_text(calendar(DAYS[1], who="王五"))
    with pytest.raises(UserError, match=r"roster.ics: line 5, event '王五': names nobody"):
        duty(folder, *words)
    with pytest.raises(UserError, match="No such file"):
        duty(folder, "import", folder / "none.ics", "--by", "王刚")


def test_what_is_exported_can_be_imported(folder):
    duty(folder, "cover", "bai-ning", "--for", "he-lan", "--on", DAYS[1], "--by", "王刚")
    file = folder / "out.ics"
    words = ("--area", "daping-shiqiao-3", "--from", DAYS[0], "--until", DAYS[3])
    assert duty(folder, "export", *words, "-o", file) == ""
    assert duty(folder, "export", *words) == file.read_bytes().decode().replace("\r\n", "\n")
    out = duty(folder, "import", file, "--by", "王刚")
    assert "bai-ning" in out
    assert "change 1 counts as before" in out
    with pytest.raises(UserError, match="Is a directory"):
        duty(folder, "export", *words, "-o", folder)
