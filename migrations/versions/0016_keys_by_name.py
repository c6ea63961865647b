"""An index of keys by their names, in which a page of the list that is ordered by name is read.

SQLAlchemy does not see an index of what is computed. A migration that makes this table anew on SQLite makes it again.

Revision 0016, after 0015.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    folded = "lower(name)" if op.get_bind().dialect.name == "sqlite" else 'lower((name) COLLATE "C")'
    op.create_index(
        "ix_api_keys_by_name",
        "api_keys",
        ["org_id", "environment", sa.text(folded), "id"],
        sqlite_where=sa.text("name >= ''"),
    )


def downgrade() -> None:
    op.drop_index("ix_api_keys_by_name", table_name="api_keys")
