"""The row of a named destination."""

from datetime import datetime
from typing import Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.environments import Environmental
from mushu.server.sealing.columns import SEALED

IS_NAMED: Final = text("removed_at IS NULL")


class DestinationRow(Environmental, Base):
    """One place that keys of one organization and one environment may be delivered to over HTTP.

    Rows are never deleted.
    """

    __tablename__ = "destinations"
    __table_args__ = (
        Index(
            "uq_destinations_org_id_environment_name",
            "org_id",
            "environment",
            "name",
            unique=True,
            sqlite_where=IS_NAMED,
            postgresql_where=IS_NAMED,
        ),
        # One place, one organization, one environment, one set of settings: whoever opens it finds them by its URI.
        Index("uq_destinations_uri", "uri", unique=True, sqlite_where=IS_NAMED, postgresql_where=IS_NAMED),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(64))
    #: The canonical URI of the plugin.
    uri: Mapped[str] = mapped_column(Text)
    #: The plugin's settings for this place, one JSON object, encrypted; None where there are none.
    sealed_settings: Mapped[str | None] = mapped_column(Text, info=dict(SEALED))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: Who named it, as `operator root`.
    created_by: Mapped[str] = mapped_column(String(160))
    removed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
