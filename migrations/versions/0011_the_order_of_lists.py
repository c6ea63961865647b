"""Lists in their order: an index for each, so that a page costs the same however many rows there are.

Revision 0011, after 0010.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ADDED = (
    ("organizations", "created_at", "id"),
    ("users", "created_at", "id"),
    ("memberships", "org_id", "joined_at", "user_id"),
    ("memberships", "user_id", "joined_at", "org_id"),
    ("invitations", "org_id", "created_at", "id"),
    ("invitations", "org_id", "status", "created_at", "id"),
    ("cli_tokens", "user_id", "issued_at", "id"),
    ("devices", "tenant_id", "created_at", "id"),
    ("audit_events", "target_id", "id"),
    ("audit_events", "actor_id", "id"),
)
#: Longer ones that begin in the same way take their place.
_REMOVED = (("memberships", "user_id"), ("invitations", "org_id"), ("cli_tokens", "user_id"))


def upgrade() -> None:
    for table, *columns in _ADDED:
        op.create_index(_name(table, columns), table, columns)
    for table, *columns in _REMOVED:
        op.drop_index(_name(table, columns), table)


def downgrade() -> None:
    for table, *columns in _REMOVED:
        op.create_index(_name(table, columns), table, columns)
    for table, *columns in _ADDED:
        op.drop_index(_name(table, columns), table)


def _name(table: str, columns: list[str]) -> str:
    return "_".join(["ix", table, *columns])
