"""How often keys, organizations and policies may be used, and from which networks a key may be.

Revision 0015, after 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_LIMITED = ("api_keys", "organizations", "policies")


def upgrade() -> None:
    for table in _LIMITED:
        op.add_column(table, sa.Column("limits", sa.String(length=120), nullable=True))
    op.add_column("api_keys", sa.Column("networks", sa.Text(), nullable=True))
    op.add_column("policies", sa.Column("over_limit", sa.Integer(), server_default="403", nullable=False))


def downgrade() -> None:
    op.drop_column("policies", "over_limit")
    op.drop_column("api_keys", "networks")
    for table in _LIMITED:
        op.drop_column(table, "limits")
