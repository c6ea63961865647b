"""The settings of a place that has no name any more: found by its URI, however many destinations there were.

Revision 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_NAME = "ix_destinations_uri_removed_at"
_SEALED = sa.text("sealed_settings IS NOT NULL")


def upgrade() -> None:
    op.create_index(_NAME, "destinations", ["uri", "removed_at"], sqlite_where=_SEALED, postgresql_where=_SEALED)


def downgrade() -> None:
    op.drop_index(_NAME, "destinations")
