"""From what a person types to an id: organizations by name, members by e-mail address."""

import re
from typing import TYPE_CHECKING, Final

from mushu.cli.answers import id_of, rows_of
from mushu.cli.faults import Failure

if TYPE_CHECKING:
    from mushu.cli.api import Api
    from mushu.cli.sides import Side

_ORG_ID: Final = re.compile(r"org_[a-z2-7]{12}")
_LIST_ORGS: Final = "`mushu org list` shows yours."


def org_id_of(api: "Api | Side", id_or_name: str) -> str:
    """Return the id of the organization with this id or exact name.

    Raises:
        Failure: there is none, or several have the name.
    """
    if _ORG_ID.fullmatch(id_or_name):
        return id_or_name
    found = rows_of(api.get("orgs"), "orgs")
    by_id = [id_of(org, "org_id") for org in found if org.get("org_id") == id_or_name]
    ids = by_id or [id_of(org, "org_id") for org in found if org.get("name") == id_or_name]
    if not ids:
        raise Failure(f"There is no organization {id_or_name!r} that you belong to. {_LIST_ORGS}")
    if len(ids) > 1:
        raise Failure(f"{len(ids)} organizations are named {id_or_name!r}. Use an id: {', '.join(ids)}.")
    return ids[0]


def user_id_of(api: "Api", org_id: str, id_or_email: str) -> str:
    """Return the id of the member with this id or e-mail address.

    Raises:
        Failure: no member has the address.
    """
    if "@" not in id_or_email:
        return id_or_email
    wanted = id_or_email.strip().casefold()
    for member in rows_of(api.get("orgs", org_id, "members"), "members"):
        if str(member.get("email", "")).casefold() == wanted:
            return id_of(member, "user_id")
    raise Failure(f"{id_or_email} is no member. `mushu org members list` shows who is.")
