"""The roles of members."""

from enum import StrEnum

from mushu.server.errors import Invalid


class Role(StrEnum):
    """What a user is in an organization; `gate/access.py` says which scopes each role carries."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


def parse_assignable(text: str) -> Role:
    """Return the role that `text` names.

    Raises:
        Invalid: unknown, or `owner`, which is never handed out: an organization has one.
    """
    if text in (Role.ADMIN, Role.MEMBER):
        return Role(text)
    raise Invalid("The role must be admin or member.", field="role")
