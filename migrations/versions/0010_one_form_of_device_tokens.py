"""One form of a device's token: hexadecimal digits are lower case. Of one device that was stored twice, the row of the
newest registration stays.

Revision 0010, after 0009.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]+")
_DEVICES = sa.table(
    "devices",
    sa.column("id", sa.String),
    sa.column("tenant_id", sa.String),
    sa.column("token", sa.String),
    sa.column("registered_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    connection = op.get_bind()
    spellings: dict[tuple[str, str], set[str]] = {}
    upper = sa.select(_DEVICES.c.tenant_id, _DEVICES.c.token).where(_DEVICES.c.token != sa.func.lower(_DEVICES.c.token))
    for tenant_id, token in connection.execute(upper).all():
        if _HEXADECIMAL.fullmatch(token):
            spellings.setdefault((tenant_id, token.lower()), {token.lower()}).add(token)
    for (tenant_id, token), spelled in spellings.items():
        one = sa.select(_DEVICES.c.id).where(_DEVICES.c.tenant_id == tenant_id, _DEVICES.c.token.in_(spelled))
        newest, *older = connection.scalars(one.order_by(_DEVICES.c.registered_at.desc(), _DEVICES.c.id.desc())).all()
        connection.execute(sa.delete(_DEVICES).where(_DEVICES.c.id.in_(older)))
        connection.execute(sa.update(_DEVICES).where(_DEVICES.c.id == newest).values(token=token))


def downgrade() -> None:
    """A token in lower case is good before, too; which rows were removed is not known."""
