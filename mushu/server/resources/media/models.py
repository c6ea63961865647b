"""The table of media, the states of an item, and the key that an item has in the storage."""

import re
import secrets
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.environments import Environmental
from mushu.server.idempotency import Idempotent
from mushu.server.resources.media.content_types import disposition_of, served_type
from mushu.server.resources.media.storage import ObjectKey, Presentation

#: What `new_key` makes.
KEY_PATTERN: Final = r"^[0-9a-f]{32}-[A-Za-z0-9._-]{1,60}$"
_UNSAFE_IN_KEY: Final = re.compile(r"[^A-Za-z0-9]+")


class Status(StrEnum):
    """`pending → uploaded → ready`, and from the first two to `failed`; nothing leads back."""

    #: Announced; its bytes may be on their way, or, in a bucket, there already.
    PENDING = "pending"
    #: All its bytes are there, and were not inspected yet.
    UPLOADED = "uploaded"
    #: Inspected, and as announced.
    READY = "ready"
    #: Something else arrived, or nothing in time.
    FAILED = "failed"


class MediaItem(Environmental, Idempotent, Base):
    """One file: what was announced, and what is there. A deleted one stays as a row until its bytes are gone."""

    __tablename__ = "media"
    __table_args__ = (
        Index("ix_media_org_id_environment_created_at_id", "org_id", "environment", "created_at", "id"),
        Index("ix_media_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
        Index("ix_media_org_id_status", "org_id", "status"),
        Index("ix_media_status_upload_ends_at", "status", "upload_ends_at"),
        Index("ix_media_removal_at", "removal_at"),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    tenant_id: Mapped[str | None] = mapped_column(ForeignKey("tenants.id"))
    #: As the client named it; never a path.
    filename: Mapped[str] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(String(100))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: Names its bytes in the storage; too random to be guessed.
    key: Mapped[str] = mapped_column(String(400), unique=True)
    #: One of `Status`.
    status: Mapped[str] = mapped_column(String(16))
    #: Why it failed; a sentence.
    failure: Mapped[str | None] = mapped_column(Text)
    #: When the last address that was given out for its upload ends.
    upload_ends_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_by: Mapped[str] = mapped_column(String(160))
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: When its bytes are to be removed, and removed again; None while the item exists.
    removal_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def presentation(self) -> Presentation:
        """How a download of it is answered."""
        return Presentation(served_type(self.content_type), disposition_of(self.filename, self.content_type))

    @property
    def object_key(self) -> ObjectKey:
        """The name of its bytes in the storage."""
        return ObjectKey(self.environment, self.key)


def new_key(filename: str) -> str:
    """Return a key of 128 random bits and the safe part of the name, by which a person recognizes it.

    A key is one part of a path and of an address: neither the name nor the organization could lead it elsewhere, and
    only who was given a key knows it.
    """
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    safe = _UNSAFE_IN_KEY.sub("-", plain.rpartition(".")[0] or plain).strip("-")[:48] or "file"
    ending = _UNSAFE_IN_KEY.sub("", plain.rpartition(".")[2])[:10] if "." in plain else ""
    return f"{secrets.token_hex(16)}-{safe}" + (f".{ending.lower()}" if ending else "")
