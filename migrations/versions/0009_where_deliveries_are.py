"""Where a delivery is: the server and namespace, or the machine, that its URI led to.

Revision 0009, after 0008. Deliveries from before do not say; each learns it when its key is next seen somewhere.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_UNDER_WAY = sa.text("state IN ('pending', 'delivered')")


def upgrade() -> None:
    for name in ("location", "directions"):
        op.add_column("deliveries", sa.Column(name, sa.Text(), server_default="", nullable=False))
    _index(["uri", "location"])


def downgrade() -> None:
    # Of two attempts at one URI in two places the older rules know one; reconciling finds the other by its key.
    op.execute(
        "UPDATE deliveries SET state = 'failed', cleanup_due = (1 = 1) WHERE state IN ('pending', 'delivered') "
        "AND id NOT IN (SELECT max(id) FROM deliveries WHERE state IN ('pending', 'delivered') GROUP BY uri)"
    )
    _index(["uri"])
    for name in ("directions", "location"):
        op.drop_column("deliveries", name)


def _index(columns: list[str]) -> None:
    op.drop_index("uq_deliveries_under_way", "deliveries")
    op.create_index(
        "uq_deliveries_under_way",
        "deliveries",
        columns,
        unique=True,
        sqlite_where=_UNDER_WAY,
        postgresql_where=_UNDER_WAY,
    )
