"""Runs of the device flow are counted by network.

Revision 0008, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "device_authorizations", sa.Column("network", sa.String(length=64), server_default="", nullable=False)
    )
    op.create_index(op.f("ix_device_authorizations_network"), "device_authorizations", ["network"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_device_authorizations_network"), "device_authorizations")
    op.drop_column("device_authorizations", "network")
