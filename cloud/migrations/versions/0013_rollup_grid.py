"""When the days of rollups begin, so that they are made anew when a config moves them; and which
worker has left a mark, so that two of them do not make the same rollup."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column(
        "rollup_due",
        sa.Column("owner", sa.String(), server_default=sa.text("''"), nullable=False),
    )
    op.create_table(
        "rollup_grid",
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("offset_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("level", name=op.f("pk_rollup_grid")),
        sqlite_with_rowid=False,
    )
