"""CAP documents: until when they hold, and when they are renewed.

Those in force name no end: each is renewed at once, by one that does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("cap_document", sa.Column("expires_ms", sa.BigInteger(), nullable=True))
    op.add_column("cap_document", sa.Column("due_ms", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_cap_document_expires_ms"), "cap_document", ["expires_ms"])
    op.create_index(op.f("ix_cap_document_due_ms"), "cap_document", ["due_ms"])
    op.execute("UPDATE cap_document SET due_ms = sent_ms WHERE in_force")
