"""finding_now: what rules find at present. outgoing: what a message tells of, for it is composed
when it is handed over; knowledge: what each contact was told last."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "finding_now",
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("sensor", sa.String(), nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.Column("trend", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint(
            "rule", "part", "gateway", "site", "sensor", name=op.f("pk_finding_now")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_finding_now_site", "finding_now", ["site", "gateway"])
    op.add_column("outgoing", sa.Column("sends", sa.String(), nullable=True))
    op.create_table(
        "knowledge",
        sa.Column("contact", sa.String(), nullable=False),
        sa.Column("exercise", sa.Boolean(), nullable=False),
        sa.Column("alert", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("contact", "exercise", "alert", name=op.f("pk_knowledge")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_knowledge_key", "knowledge", ["key"])
