"""Rotation, usage, named destinations, and what was found where keys were delivered.

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "destinations",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("sealed_settings", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_destinations_org_id_organizations")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destinations")),
    )
    op.create_index(
        "uq_destinations_org_id_name",
        "destinations",
        ["org_id", "name"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_destinations_uri",
        "destinations",
        ["uri"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )

    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.String(length=24), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_from", sa.String(length=64), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_key_uses_key_id_api_keys")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_key_uses")),
    )
    op.create_table(
        "journal_positions",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_journal_positions")),
    )
    op.create_table(
        "rotations",
        sa.Column("successor_id", sa.String(length=24), nullable=False),
        sa.Column("predecessor_id", sa.String(length=24), nullable=False),
        sa.Column("settle_seconds", sa.Integer(), nullable=False),
        sa.Column("deadline_seconds", sa.Integer(), nullable=False),
        sa.Column("at_deadline", sa.String(length=8), nullable=False),
        sa.Column("at_once", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handed_over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("at_deadline IN ('keep', 'revoke')", name=op.f("ck_rotations_at_deadline")),
        sa.ForeignKeyConstraint(["predecessor_id"], ["api_keys.id"], name=op.f("fk_rotations_predecessor_id_api_keys")),
        sa.ForeignKeyConstraint(["successor_id"], ["api_keys.id"], name=op.f("fk_rotations_successor_id_api_keys")),
        sa.PrimaryKeyConstraint("successor_id", name=op.f("pk_rotations")),
    )
    op.create_index(
        "ix_rotations_open",
        "rotations",
        ["predecessor_id"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_index("ix_rotations_predecessor_id", "rotations", ["predecessor_id"], unique=False)

    op.add_column("api_keys", sa.Column("rotate_every", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("rotate_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_keys", sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_api_keys_retires_at",
        "api_keys",
        ["retires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'retiring' AND retires_at IS NOT NULL"),
        postgresql_where=sa.text("state = 'retiring' AND retires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_api_keys_rotate_at",
        "api_keys",
        ["rotate_at"],
        unique=False,
        sqlite_where=sa.text("rotate_at IS NOT NULL"),
        postgresql_where=sa.text("rotate_at IS NOT NULL"),
    )

    op.create_index("ix_deliveries_uri", "deliveries", ["uri"], unique=False)
    op.add_column("deliveries", sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("deliveries", sa.Column("condition", sa.String(length=16), nullable=True))
    op.add_column("deliveries", sa.Column("delivered_by", sa.String(length=160), nullable=True))


def downgrade() -> None:
    op.drop_index("ix_deliveries_uri", "deliveries")
    op.drop_column("deliveries", "delivered_by")
    op.drop_column("deliveries", "condition")
    op.drop_column("deliveries", "checked_at")

    op.drop_index("ix_api_keys_rotate_at", "api_keys")
    op.drop_index("ix_api_keys_retires_at", "api_keys")
    op.drop_column("api_keys", "retires_at")
    op.drop_column("api_keys", "rotate_at")
    op.drop_column("api_keys", "rotate_every")

    op.drop_index("ix_rotations_predecessor_id", "rotations")
    op.drop_index("ix_rotations_open", "rotations")

    op.drop_table("rotations")
    op.drop_table("journal_positions")
    op.drop_table("key_uses")
    op.drop_index("uq_destinations_uri", "destinations")
    op.drop_index("uq_destinations_org_id_name", "destinations")

    op.drop_table("destinations")
