"""`shuichi alert raise` and what follows it, without a service."""

import pytest

from configs.loader import UserError
from tests.unit.test_alertcli import alerts, file, prepared, run  # noqa: F401  # fixtures

SITE = "daping-slope"


def test_an_alert_is_raised_directed_and_resolved(file):  # noqa: F811
    raised = ("raise", SITE, "landslide", "--level", "red", "--by", "Li", "--said", "cracks")
    out, code = run(file, *raised)
    assert code == 0
    alert = out.strip()
    assert alert in {one["id"] for one in alerts(file)}
    assert run(file, "note", alert, "--by", "Li", "--said", "geologist on the way")[1] == 0
    # The config has no channel: nobody could be reached up to the top.
    assert run(file, "escalate", alert, "--by", "Li") == ("yunting is the top already\n", 1)
    assert run(file, "add", alert, "bai-ning", "--by", "Li")[1] == 0
    assert run(file, "ack", alert, "--by", "Wu")[1] == 0
    assert run(file, "handover", alert, "bai-ning", "--by", "Li")[1] == 0
    assert run(file, "unack", alert, "--by", "Li", "--said", "nobody there")[1] == 0
    out, _ = run(file, "show", alert)
    for kind in ("raised by hand", "note", "unreached", "added", "handed over", "reopen"):
        assert kind in out
    out, code = run(file, "unack", alert, "--by", "Li", "--said", "again")
    assert (out, code) == ("nobody has answered it\n", 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("raise", "atlantis", "river", "--level", "red", "--by", "Li", "--said", "x"), "no site"),
        (("add", "nothing", "bai-ning", "--by", "Li"), "there is no alert nothing"),
        (("resolve", "nothing", "--by", "Li"), "there is no alert nothing"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_1(file, words, says):  # noqa: F811
    out, code = run(file, *words)
    assert code == 1
    assert says in out
    assert out.count("\n") == 1


def test_statistics_of_the_month_are_printed(file):  # noqa: F811
    out, code = run(file, "stats")
    assert code == 0
    assert "2 alerts, 2 never answered, 0 false alarms" in out
    rows = run(file, "stats", "--format", "csv")[0].splitlines()
    assert rows[0].startswith("kind,who,called,answered")
    assert rows[1].startswith("all,all,")
    assert run(file, "stats", "--month", "1999-12")[0].startswith("1999-12: 0 alerts")
    with pytest.raises(UserError, match="is not a month"):
        run(file, "stats", "--month", "x")
