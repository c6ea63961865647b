"""Policies of the gate, and users who are operators: the oldest one is.

Revision 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("operator_since", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE users SET operator_since = created_at WHERE id = (SELECT id FROM users ORDER BY created_at, id LIMIT 1)"
    )
    op.create_table(
        "policies",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=True),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("cli_tokens", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("environment IN ('live', 'test')", name=op.f("ck_policies_environment")),
        sa.CheckConstraint("org_id IS NOT NULL OR NOT cli_tokens", name=op.f("ck_policies_cli_tokens")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_policies_org_id_organizations")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_policies")),
    )


def downgrade() -> None:
    op.drop_table("policies")
    op.drop_column("users", "operator_since")
