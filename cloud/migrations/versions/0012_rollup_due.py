"""Rollups that are due: a mark for each minute and hour of a gateway, not one range an hour.

A mark of before becomes one for each minute of its range.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_MINUTE_MS = 60_000


def upgrade() -> None:
    connection = op.get_bind()
    old = connection.execute(sa.text("SELECT gateway, first_ms, last_ms FROM rollup_due")).all()
    op.drop_table("rollup_due")
    table = op.create_table(
        "rollup_due",
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fault", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("level", "gateway", "at_ms", name=op.f("pk_rollup_due")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_rollup_due_level_at_ms", "rollup_due", ["level", "at_ms"])
    for gateway, first_ms, last_ms in old:
        begin = first_ms // _MINUTE_MS * _MINUTE_MS
        rows = [
            {"level": "minute", "gateway": gateway, "at_ms": at_ms, "times": 1}
            for at_ms in range(begin, last_ms + 1, _MINUTE_MS)
        ]
        op.bulk_insert(table, rows)
