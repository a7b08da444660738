"""What an older release has left is gone on with: its running alerts, messages, quarantine, outbox.

`tests/golden/state-0001.sql` and `outbox-2.sql` were written by the release before quotas: a red
alert of five minutes that nobody has answered, one case, and six batches, of which the second was
acknowledged.
"""

import sqlite3
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud import state, tables
from cloud.alerts.delivery import _done
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.tokens import Tokens
from cloud.channels import Message, Receipt
from edge.outbox import open_outbox
from tests.conftest import ROOT
from tests.dispatching import BEGIN_MS, MINUTE, PLAN, SETTINGS
from wire.codec import decode_batch

GOLDEN = ROOT / "tests" / "golden"


def restored(name: str, path: Path) -> Path:
    made = sqlite3.connect(path)
    made.executescript((GOLDEN / name).read_text("utf-8"))
    made.close()
    return path


async def test_a_red_alert_that_ran_goes_on_calling(tmp_path: Path) -> None:
    path = restored("state-0001.sql", tmp_path / "cloud.db")
    dispatch = Dispatch(PLAN, PLAN.channel, Tokens(b"secret"), SETTINGS)
    told: list[Message] = []
    async with state.opened(path) as database:
        rows = await database.run(lambda c: c.execute(select(tables.quarantine)).all())
        assert [row.words for row in rows] == ["nonsense"]
        now_ms = BEGIN_MS + 5 * MINUTE
        for _ in range(8):
            due_ms = await database.run(partial(dispatch.round, now_ms=now_ms))
            out = await database.run(lambda c: c.execute(select(tables.outgoing)).all())
            for row in out:
                if row.done_ms is not None:
                    continue
                ask = partial(
                    dispatch.hand_over.next,
                    channel=row.channel,
                    contact=row.contact,
                    now_ms=now_ms,
                )
                if (message := await database.run(ask)) is None:
                    continue
                told.append(message)
                done = partial(
                    _done,
                    key=message.key,
                    outcome="delivered",
                    receipt=Receipt(),
                    now_ms=now_ms,
                )
                await database.run(done)
            last_ms = now_ms
            if due_ms is None:
                break
            now_ms = max(due_ms, now_ms + 1000)
        out = await database.run(lambda c: c.execute(select(tables.outgoing)).all())
        waiting = [row.key for row in out if row.done_ms is None and row.not_before_ms < last_ms]
    assert dispatch.errors == []
    assert waiting == [], "nobody waits for a message that cannot be composed"
    assert told[0].level == "red"
    assert len({one.key for one in told}) == len(told)
    assert {"raise", "again", "climb"} <= {one.kind for one in told}
    assert len({one.to or one.name for one in told}) > 3, "those above are called as well"


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
async def test_an_outbox_is_sent_on(tmp_path: Path, boot: str) -> None:
    path = restored("outbox-2.sql", tmp_path / "outbox.db")
    async with open_outbox(path, "gw", boot) as outbox:
        found = await outbox.pending(-1, 2**63 - 1, 99)
        batches = [decode_batch(one.payload) for one in found]
        assert [one.number for one in batches] == [1, 3, 4, 5, 6]
        assert [len(one.readings) for one in batches] == [1, 1, 1, 1, 0]
        assert not outbox.notices
        assert outbox.readings_lost == 0
