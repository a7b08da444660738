"""Holds have a scope, a begin and an end. What was held back alarm by alarm becomes a hold of its
site and hazard: a shelf ends when it was to end, the others, which had no end, in a day."""

import time

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_DAY_MS = 86_400_000
_LEVELS = {1: "blue", 2: "yellow", 3: "orange", 4: "red"}


def upgrade() -> None:
    op.create_table(
        "hold",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("area", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("hazard", sa.String(), nullable=False),
        sa.Column("exercise", sa.Boolean(), nullable=False),
        sa.Column("begin_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("up_to", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.Column("ended_why", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    op.create_index(op.f("ix_hold_ended_ms"), "hold", ["ended_ms"])
    op.create_index("ix_knowledge_alert", "knowledge", ["alert", "delivered"])
    _carry_over()


def _carry_over() -> None:
    hold = sa.table("hold", *(sa.column(name) for name in _NAMES))
    alarm = sa.table("alarm", *(sa.column(n) for n in ("site", "hazard", "exercise", "state")))
    connection, now_ms = op.get_bind(), time.time_ns() // 1_000_000
    for row in connection.execute(sa.select(alarm)).all():
        try:
            state = msgspec.json.decode(row.state)
            kind = state.get("hold")
        except (msgspec.MsgspecError, AttributeError):
            continue  # a round sets it aside and says so
        if not kind:
            continue
        until_ms = state.get("shelved_until_ms")
        level = _LEVELS.get(state.get("shelved_up_to"), "red")
        given = (
            *(kind, row.site, "", "", row.hazard, bool(row.exercise), now_ms),
            *(until_ms or now_ms + _DAY_MS, False, level),
            *("an earlier release", "migration", "held back before the update", now_ms, now_ms),
        )
        connection.execute(sa.insert(hold).values(**dict(zip(_NAMES, given, strict=True))))
    connection.execute(sa.text("UPDATE alarm SET due_ms = 0"))  # each works out anew how it stands


_NAMES = (
    *("kind", "site", "area", "gateway", "hazard", "exercise", "begin_ms"),
    *("end_ms", "planned", "up_to"),
    *("who", "how", "reason", "made_ms", "seen_ms"),
)
