"""Usage by hour and day, by address, and by reason of denial; first uses that are to be noted; who created a key.

On SQLite these tables stay empty: usage has a database of its own, which begins with the rows of `key_uses`. So that
one refers to no table of the other any more.

Revision 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FOREIGN_KEY = "fk_key_uses_key_id_api_keys"
_NOT_NOTED = sa.text("NOT noted")


_CREATED_BY = """
UPDATE api_keys SET created_by = (
    SELECT actor_id FROM audit_events
    WHERE target_id = api_keys.id AND action = 'key.created' AND actor_kind = 'user' ORDER BY id LIMIT 1
)
"""


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("created_by", sa.String(24)))
    op.execute(_CREATED_BY)
    with op.batch_alter_table("key_uses") as table:
        table.drop_constraint(_FOREIGN_KEY, type_="foreignkey")
        table.add_column(sa.Column("noted", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_index(
        "ix_key_uses_not_noted", "key_uses", ["key_id"], sqlite_where=_NOT_NOTED, postgresql_where=_NOT_NOTED
    )
    op.create_table(
        "usage_periods",
        sa.Column("key_id", sa.String(24), nullable=False),
        sa.Column("seconds", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("denials", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("last_denied_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("key_id", "seconds", "start", name=op.f("pk_usage_periods")),
    )
    op.create_index("ix_usage_periods_seconds_start", "usage_periods", ["seconds", "start"])
    op.create_table(
        "usage_sources",
        sa.Column("key_id", sa.String(24), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "source", name=op.f("pk_usage_sources")),
    )
    op.create_table(
        "usage_denials",
        sa.Column("key_id", sa.String(24), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("denials", sa.BigInteger(), nullable=False),
        sa.Column("last_denied_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_denied_from", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "reason", name=op.f("pk_usage_denials")),
    )
    op.create_table(
        "usage_files",
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_usage_files")),
    )


def downgrade() -> None:
    for name in ("usage_files", "usage_denials", "usage_sources", "usage_periods"):
        op.drop_table(name)
    op.drop_index("ix_key_uses_not_noted", "key_uses")
    with op.batch_alter_table("key_uses") as table:
        table.drop_column("noted")
        table.create_foreign_key(_FOREIGN_KEY, "api_keys", ["key_id"], ["id"])
    op.drop_column("api_keys", "created_by")
