"""Keys are minted once: the mark of the request that minted a key.

Revision 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("request_key", sa.String(length=64), nullable=True))
    op.add_column("api_keys", sa.Column("request_digest", sa.String(length=64), nullable=True))
    # An index and no constraint, for which SQLite would have to copy the table that everything else refers to.
    op.create_index("uq_api_keys_request_key", "api_keys", ["request_key"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_api_keys_request_key", "api_keys")
    op.drop_column("api_keys", "request_digest")
    op.drop_column("api_keys", "request_key")
