"""gateway: whether it believes our acks."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("gateway", sa.Column("acks_refused", sa.BigInteger(), nullable=True))
    op.add_column("gateway", sa.Column("acks_unproven", sa.Boolean(), nullable=True))
