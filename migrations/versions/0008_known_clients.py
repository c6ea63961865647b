"""Known clients: where each user signed in before. Runs of the device flow are counted by network.

Revision 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "known_clients",
        sa.Column("user_id", sa.String(length=24), nullable=False),
        sa.Column("client", sa.String(length=80), nullable=False),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_known_clients_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "client", name=op.f("pk_known_clients")),
    )
    # IPv6 was counted by whole addresses, which nobody asks for again; all of it is forgotten after a day in any case.
    op.execute("DELETE FROM login_throttles WHERE subject LIKE 'address:%:%'")
    op.execute("UPDATE login_throttles SET subject = 'network:' || substr(subject, 9) WHERE subject LIKE 'address:%'")
    op.add_column(
        "device_authorizations", sa.Column("network", sa.String(length=64), server_default="", nullable=False)
    )
    op.create_index(op.f("ix_device_authorizations_network"), "device_authorizations", ["network"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_device_authorizations_network"), "device_authorizations")
    op.drop_column("device_authorizations", "network")
    op.drop_table("known_clients")
