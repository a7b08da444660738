"""quotas: what was refused, and the series of each gateway."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "refused",
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("quota", sa.String(), nullable=False),
        sa.Column("things", sa.BigInteger(), nullable=False),
        sa.Column("first_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gateway", "quota", name=op.f("pk_refused")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "known_series",
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("sensor", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("first_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "gateway", "site", "sensor", "quantity", name=op.f("pk_known_series")
        ),
        sqlite_with_rowid=False,
    )
