"""What lists of API keys and their summary take and answer."""

from datetime import datetime

from pydantic import BaseModel, Field

from mushu.server.clock import parse_duration
from mushu.server.db import AnySession
from mushu.server.delivery.named_destinations import uris_at
from mushu.server.hygiene import Hygiene, Sort
from mushu.server.keys import Scope
from mushu.server.keys.selection import Selection, StateAt
from mushu.server.keys.states import State
from mushu.server.orgs.service import NAME_LENGTH
from mushu.server.web.api.key_models import Key, UsageBar
from mushu.server.web.api.models import ListWindow, Text
from mushu.server.web.guard import current_environment


class KeyFilters(BaseModel):
    """Which keys are meant; all that is given applies."""

    include_deleted: bool = False
    name: str | None = Field(default=None, min_length=1, max_length=NAME_LENGTH)
    search: str | None = Field(default=None, min_length=1, max_length=NAME_LENGTH)
    state: State | None = None
    scope: Scope | None = None
    destination: Text | None = None
    created_by: Text | None = None
    unused: bool = False
    idle: Text | None = None
    used_within: Text | None = None
    expires_within: Text | None = None
    no_expiry: bool = False
    drifted: bool = False
    stalled: bool = False
    owner_left: bool = False

    def hygiene(self, session: AnySession, org_id: str) -> Hygiene:
        """Return what is asked besides the rows of keys, in the caller's transaction."""
        lengths = {field: getattr(self, field) for field in ("idle", "used_within", "expires_within")}
        environments = (current_environment(),)
        return Hygiene(
            unused=self.unused,
            no_expiry=self.no_expiry,
            drifted=self.drifted,
            stalled=self.stalled,
            owner_left=self.owner_left,
            created_by=self.created_by,
            at=uris_at(session, org_id, environments, self.destination) if self.destination is not None else None,
            **{field: parse_duration(length, field) for field, length in lengths.items() if length is not None},
        )

    def selection(self, now: datetime) -> Selection:
        """Return which keys are meant, of the environment of the request."""
        return Selection(
            (current_environment(),),
            with_deleted=self.include_deleted,
            name=self.name,
            search=self.search,
            state=StateAt(self.state, now) if self.state is not None else None,
            scope=self.scope,
        )


class KeysOf(KeyFilters, ListWindow):
    sort: Sort = Sort.CREATED


class KeyList(BaseModel):
    api_keys: list[Key]
    next_cursor: str | None


class KeySummary(BaseModel):
    """How many keys there are, how many somebody should look at, and their requests of the last 24 hours."""

    keys: int
    deleted: int
    drifted: int
    stalled: int
    expiring: int
    unused: int
    idle: int
    owner_left: int
    no_expiry: int
    requests: int
    denials: int
    hours: list[UsageBar]
