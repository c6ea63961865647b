"""Events of the audit trail in words: what was done, by whom, and to which key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import url_for
from markupsafe import Markup

from mushu.environment import Environment
from mushu.server.audit import ActorKind, AuditEvent
from mushu.server.db import AnySession
from mushu.server.keys.service import names_of_keys
from mushu.server.users.service import emails_of
from mushu.server.web.dashboard.shell import LIVE, SANDBOX
from mushu.server.web.guard import current_org
from mushu.server.web.templating import visible

_Details = Mapping[str, Any]
#: By action: the icon, and what was done in words.
_KEY_EVENTS: Final[dict[str, tuple[str, Callable[[_Details], str]]]] = {
    "key.created": ("key-round", lambda _: "created"),
    "key.activated": ("circle-check", lambda _: "activated"),
    "key.failed": ("circle-x", lambda _: "given up: it could not be delivered"),
    "key.rotation_begun": (
        "rotate-cw",
        lambda details: f"rotated: {details.get('successor', 'another key')} takes over",
    ),
    "key.retiring": ("clock", lambda _: "replaced: it works until the new key is in use"),
    "key.retired": ("ban", lambda _: "over: the new key is in use"),
    "key.renamed": ("settings", lambda details: f"renamed from {details.get('from', '')} to {details.get('to', '')}"),
    "key.restricted": ("settings", lambda _: "given other limits or networks"),
    "key.disabled": ("ban", lambda _: "disabled"),
    "key.enabled": ("circle-check", lambda _: "enabled"),
    "key.deleted": ("trash-2", lambda _: "deleted"),
    "key.value_left": ("triangle-alert", lambda _: "over, and its value is still at a destination"),
}
#: The same for what is done to something else; the details that are told stand after it.
_OTHER_EVENTS: Final[dict[str, tuple[str, str]]] = {
    "org.created": ("created the organization", ""),
    "org.renamed": ("renamed the organization to", "to"),
    "org.transferred": ("handed the organization over", ""),
    "org.settings_changed": ("changed the settings", ""),
    "member.added": ("let a member in, as", "role"),
    "member.removed": ("removed a member", ""),
    "member.role_set": ("gave a member the role", "to"),
    "invitation.created": ("invited somebody", ""),
    "destination.added": ("added the destination", "name"),
    "destination.removed": ("removed the destination", "name"),
}
_DONE: Final = ("key.activated", "key.enabled")


@dataclass(frozen=True, slots=True)
class TrailLine:
    """One event."""

    icon: str
    is_done: bool
    words: Markup
    who: str
    at: datetime
    #: The key that it was done to, and its name.
    key_id: str | None
    key_name: str
    environment: Environment

    @property
    def href(self) -> str:
        """Return the address of the page of the key, which stands in the key's own environment."""
        pages = SANDBOX if self.environment is Environment.TEST else LIVE
        return url_for(f"{pages}.show_key", org_id=current_org(), key_id=self.key_id)


def trail_of(session: AnySession, events: Sequence[AuditEvent]) -> list[TrailLine]:
    """Return what happened, in the order of the events."""
    users = [event.actor_id for event in events if event.actor_kind == ActorKind.USER]
    emails = emails_of(session, users)
    names = names_of_keys(session, [event.target_id for event in events if event.action.startswith("key.")])
    return [_line(event, emails, names) for event in events]


def _line(event: AuditEvent, emails: Mapping[str, str], names: Mapping[str, tuple[str, Environment]]) -> TrailLine:
    known = _KEY_EVENTS.get(event.action)
    key_id = event.target_id if event.target_id in names else None
    name, environment = names.get(event.target_id, ("", Environment.LIVE))
    icon, words = (known[0], known[1](event.details)) if known else ("circle", _other(event))
    who = _who(event, emails)
    return TrailLine(icon, event.action in _DONE, visible(words), who, event.at, key_id, name, environment)


def _other(event: AuditEvent) -> str:
    words, detail = _OTHER_EVENTS.get(event.action, (f"{event.action}: {event.target_id}", ""))
    return f"{words} {event.details.get(detail, '')}".strip()


def _who(event: AuditEvent, emails: Mapping[str, str]) -> str:
    match event.actor_kind:
        case ActorKind.USER:
            return emails.get(event.actor_id, event.actor_id)
        case ActorKind.API_KEY:
            return event.actor_id
        case ActorKind.OPERATOR:  # whose account is no business of an organization
            return "An operator of the server"
        case _:
            return "Mushu"
