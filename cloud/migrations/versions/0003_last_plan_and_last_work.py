"""which plan was the last good one, and when the holder of a lease last did its work."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("plan", sa.Column("used_ms", sa.BigInteger(), nullable=True))
    op.add_column("lease", sa.Column("worked_ms", sa.BigInteger(), nullable=True))
