"""A named destination belongs to live or to test.

Revision 0007, after 0006. A place becomes one of test where all keys that are not over and lie there are test keys, or,
where none lies, where nothing but test keys was ever brought. All others become live: a test key is refused there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LIVING = sa.text("removed_at IS NULL")

# Every place with whether live and test keys lie there now, and whether they ever did; what clients delivered lies
# on their machines.
_PLACES = sa.text(
    """
    SELECT deliveries.uri,
           max(CASE WHEN lies AND environment = 'live' THEN 1 ELSE 0 END) AS live_now,
           max(CASE WHEN lies AND environment = 'test' THEN 1 ELSE 0 END) AS test_now,
           max(CASE WHEN environment = 'live' THEN 1 ELSE 0 END) AS live_ever
    FROM (
        SELECT deliveries.uri, api_keys.environment,
               deliveries.state IN ('pending', 'delivered', 'verified')
               AND api_keys.state NOT IN ('revoked', 'failed') AS lies
        FROM deliveries JOIN api_keys ON api_keys.id = deliveries.key_id
        WHERE NOT deliveries.on_client
    ) AS deliveries
    GROUP BY deliveries.uri
    """
)


def upgrade() -> None:
    op.drop_index("uq_destinations_org_id_name", "destinations")
    op.drop_index("uq_destinations_uri", "destinations")
    with op.batch_alter_table("destinations") as table:
        table.add_column(sa.Column("environment", sa.String(length=8), nullable=False, server_default="live"))
    connection = op.get_bind()
    for uri, live_now, test_now, live_ever in connection.execute(_PLACES).all():
        if (test_now and not live_now) or not (live_now or test_now or live_ever):
            moved = sa.text("UPDATE destinations SET environment = 'test' WHERE uri = :uri")
            connection.execute(moved, {"uri": uri})
    with op.batch_alter_table("destinations") as table:
        table.alter_column("environment", existing_type=sa.String(length=8), server_default=None)
        table.create_check_constraint(op.f("ck_destinations_environment"), "environment IN ('live', 'test')")
    _create_indexes(["org_id", "environment", "name"])


def downgrade() -> None:
    op.drop_index("uq_destinations_org_id_environment_name", "destinations")
    op.drop_index("uq_destinations_uri", "destinations")
    # One name may stand for a place of each; before, it could not.
    op.execute(
        "UPDATE destinations SET name = substr(name, 1, 58) || '-test' "
        "WHERE environment = 'test' AND removed_at IS NULL"
    )
    with op.batch_alter_table("destinations") as table:
        table.drop_constraint(op.f("ck_destinations_environment"), type_="check")
        table.drop_column("environment")
    _create_indexes(["org_id", "name"])


def _create_indexes(columns: list[str]) -> None:
    for name, of in (("_".join(["uq_destinations", *columns]), columns), ("uq_destinations_uri", ["uri"])):
        op.create_index(name, "destinations", of, unique=True, sqlite_where=_LIVING, postgresql_where=_LIVING)
