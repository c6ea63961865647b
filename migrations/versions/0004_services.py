"""The services that keys protect: tenants, devices, notifications, media; and the settings of an organization.

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _org_settings()
    _tenants()
    _devices()
    _media()
    _notifications()
    _sendings()


def downgrade() -> None:
    op.drop_table("sendings")
    op.drop_table("notifications")
    op.drop_table("media")
    op.drop_table("devices")
    op.drop_table("tenants")
    op.drop_table("org_settings")


def _org_settings() -> None:
    op.create_table(
        "org_settings",
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("default_scopes", sa.String(length=32), nullable=True),
        sa.Column("default_lifetime", sa.Integer(), nullable=True),
        sa.Column("default_rotate_every", sa.Integer(), nullable=True),
        sa.Column("max_key_age", sa.Integer(), nullable=True),
        sa.Column("email_domains", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_org_settings_org_id_organizations")),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_org_settings")),
    )


def _tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("bundle_id", sa.String(length=155), nullable=False),
        sa.Column("team_id", sa.String(length=10), nullable=True),
        sa.Column("apns_key_id", sa.String(length=10), nullable=True),
        sa.Column("sealed_private_key", sa.Text(), nullable=True),
        sa.Column("use_sandbox", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.CheckConstraint("environment IN ('live', 'test')", name=op.f("ck_tenants_environment")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_tenants_org_id_organizations")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("request_key", name=op.f("uq_tenants_request_key")),
    )
    op.create_index(
        "ix_tenants_org_id_environment_created_at_id",
        "tenants",
        ["org_id", "environment", "created_at", "id"],
        unique=False,
    )


def _devices() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("tenant_id", sa.String(length=24), nullable=False),
        sa.Column("user_id", sa.String(length=200), nullable=False),
        sa.Column("token", sa.String(length=200), nullable=False),
        sa.Column("platform", sa.String(length=16), nullable=False),
        sa.Column("app_version", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.CheckConstraint("environment IN ('live', 'test')", name=op.f("ck_devices_environment")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_devices_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    op.create_index(
        "ix_devices_tenant_id_user_id_created_at_id",
        "devices",
        ["tenant_id", "user_id", "created_at", "id"],
        unique=False,
    )
    op.create_index("uq_devices_tenant_id_token", "devices", ["tenant_id", "token"], unique=True)


def _media() -> None:
    op.create_table(
        "media",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("tenant_id", sa.String(length=24), nullable=True),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("content_type", sa.String(length=100), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=400), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("upload_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removal_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.CheckConstraint("environment IN ('live', 'test')", name=op.f("ck_media_environment")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_media_org_id_organizations")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_media_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media")),
        sa.UniqueConstraint("key", name=op.f("uq_media_key")),
        sa.UniqueConstraint("request_key", name=op.f("uq_media_request_key")),
    )
    op.create_index(
        "ix_media_org_id_environment_created_at_id",
        "media",
        ["org_id", "environment", "created_at", "id"],
        unique=False,
    )
    op.create_index("ix_media_tenant_id_created_at_id", "media", ["tenant_id", "created_at", "id"], unique=False)
    op.create_index("ix_media_org_id_status", "media", ["org_id", "status"], unique=False)
    op.create_index("ix_media_status_upload_ends_at", "media", ["status", "upload_ends_at"], unique=False)
    op.create_index("ix_media_removal_at", "media", ["removal_at"], unique=False)


def _notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("tenant_id", sa.String(length=24), nullable=False),
        sa.Column("to_outbox", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.CheckConstraint("environment IN ('live', 'test')", name=op.f("ck_notifications_environment")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_notifications_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("request_key", name=op.f("uq_notifications_request_key")),
    )
    op.create_index(
        "ix_notifications_tenant_id_created_at_id", "notifications", ["tenant_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_notifications_tenant_id_to_outbox_created_at_id",
        "notifications",
        ["tenant_id", "to_outbox", "created_at", "id"],
        unique=False,
    )


def _sendings() -> None:
    op.create_table(
        "sendings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("notification_id", sa.String(length=24), nullable=False),
        sa.Column("user_id", sa.String(length=200), nullable=False),
        sa.Column("token", sa.String(length=200), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.CheckConstraint("environment IN ('live', 'test')", name=op.f("ck_sendings_environment")),
        sa.ForeignKeyConstraint(
            ["notification_id"], ["notifications.id"], name=op.f("fk_sendings_notification_id_notifications")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sendings")),
    )
    op.create_index("ix_sendings_notification_id_id", "sendings", ["notification_id", "id"], unique=False)
