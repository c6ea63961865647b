"""What several resources share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mushu.server.paging import CURSOR_LENGTH, MOST, Window

Text = Annotated[str, Field(max_length=1_000)]


def optional() -> Any:
    """Return the default of an answer's field that is left out where it does not apply."""
    return Field(default=None, exclude_if=lambda value: value is None)


class Body(BaseModel):
    """A request body: what it does not know, it refuses, so that a typo is not taken for consent."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class ListWindow(BaseModel):
    """Which page of a list is asked for."""

    limit: int = Field(default=100, ge=1, le=MOST)
    cursor: str | None = Field(default=None, max_length=CURSOR_LENGTH)

    @property
    def window(self) -> Window:
        return Window(self.limit, self.cursor)


class OrgPath(BaseModel):
    org_id: str


class Deleted(BaseModel):
    """What was asked to be deleted is deleted."""

    deleted: bool = True
