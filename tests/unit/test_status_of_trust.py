"""What status and metrics say of acks that are not believed and commands that are refused."""

import io

import msgspec
from rich.console import Console

from edge import metrics, show
from edge.status import Status


def status(**uplink) -> Status:
    process = {
        "version": "1", "python": "3", "pid": 1, "uptime_s": 1, "memory_bytes": 1,
        "watchdog_waits_for": [],
    }  # fmt: skip
    queue = {
        "stream": "s", "sealed": 1, "readings_sealed": 1, "pending": 1, "pending_by_priority": {},
        "unsealed": 0, "lost": 0, "in_memory": False,
    }  # fmt: skip
    link = {
        "broker": "b", "connected": True, "in_flight": 0, "acked": 0, "last_ack_s": None,
    }  # fmt: skip
    whole = {
        "gateway": "gw", "process": process, "clock": {"utc_ms": 1, "trusted": True},
        "queue": queue, "uplink": link | uplink, "buses": [], "lamps": [],
        "commands": {"taken": 1, "refused": 20, "dropped": 300},
    }  # fmt: skip
    return msgspec.convert(whole, Status)


def shown(one: Status) -> str:
    out = io.StringIO()
    show.status(Console(file=out, width=200), one, every_device=False)
    return out.getvalue()


def test_acks_that_prove_nothing_are_shown_in_words_and_figures():
    assert "acks " not in shown(status())
    forged = status(acks_refused=4)
    assert "4 were not believed" in shown(forged)
    unproven = status(acks_refused=4, acks_unproven=True, acks_must_prove=True)
    assert "not proven: the cloud has no key of this gateway, or another one" in shown(unproven)
    text = metrics.text(unproven)
    assert "shuichi_uplink_refused_acks_total 4.0" in text
    assert "shuichi_uplink_acks_unproven 1.0" in text


def test_commands_are_counted():
    assert "1 taken, 20 refused, 300 dropped" in shown(status())
    text = metrics.text(status())
    for name, count in (("taken", 1), ("refused", 20), ("dropped", 300)):
        assert f"shuichi_commands_{name}_total {float(count)}" in text
