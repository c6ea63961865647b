"""Events of the audit trail in words: what was done, by whom, and to which key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import url_for
from markupsafe import Markup

from mushu.environment import Environment
from mushu.server.audit import ActorKind, AuditEvent
from mushu.server.environments import Source
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
    "key.extended": ("clock", lambda details: f"given more time, until {details.get('to', 'later')}"),
    "key.renamed": ("settings", lambda details: f"renamed from {details.get('from', '')} to {details.get('to', '')}"),
    "key.restricted": ("settings", lambda _: "given other limits or networks"),
    "key.disabled": ("ban", lambda _: "disabled"),
    "key.enabled": ("circle-check", lambda _: "enabled"),
    "key.deleted": ("trash-2", lambda _: "deleted"),
    "key.value_left": ("triangle-alert", lambda _: "over, and its value is still at a destination"),
}
#: The same for what is done to something else: `{target}` is what it was done to, and other names are of its details.
_OTHER_EVENTS: Final[dict[str, str]] = {
    "org.created": "created the organization",
    "org.renamed": "renamed the organization to {to}",
    "org.transferred": "handed the organization over to {to}",
    "org.settings_changed": "changed the settings: {details}",
    "org.limited": "gave the organization these limits: {limits}",
    "org.deleted": "deleted the organization",
    "member.added": "let {target} in, as {role}",
    "member.removed": "removed {target}",
    "member.role_set": "gave {target} the role {to}",
    "invitation.created": "invited {email} as {role}",
    "invitation.accepted": "accepted an invitation",
    "invitation.declined": "declined an invitation",
    "invitation.cancelled": "cancelled an invitation",
    "invitation.withdrawn": "took an invitation back with it",
    "destination.added": "added the destination {name}",
    "destination.removed": "removed the destination {name}",
    "destination.settings_changed": "changed what opens the destination {name}",
    "policy.added": "added the policy {target}, for {environment} keys with {scope}",
    "policy.limited": "gave the policy {target} these limits: {limits}",
    "policy.removed": "removed the policy {target}",
    "tenant.created": "created the tenant {target}",
    "tenant.deleted": "deleted the tenant {target}",
    "tenant.host_chosen": "chose another host for the tenant {target}",
    "tenant.credentials_changed": "changed what the tenant {target} sends with",
    "media.created": "began to upload {filename}",
    "media.ready": "uploaded {filename}",
    "media.failed": "gave up {filename}",
    "media.deleted": "deleted {filename}",
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


def trail_of(source: Source, events: Sequence[AuditEvent]) -> list[TrailLine]:
    """Return what happened, in the order of the events."""
    emails = emails_of(source, {id_ for event in events for id_ in _people_of(event)})
    names = names_of_keys(source, [event.target_id for event in events if event.action.startswith("key.")])
    return [_line(event, emails, names) for event in events]


def _line(event: AuditEvent, emails: Mapping[str, str], names: Mapping[str, tuple[str, Environment]]) -> TrailLine:
    known = _KEY_EVENTS.get(event.action)
    key_id = event.target_id if event.target_id in names else None
    name, environment = names.get(event.target_id, ("", Environment.LIVE))
    icon, words = (known[0], known[1](event.details)) if known else ("circle", _other(event, emails))
    who = _who(event, emails)
    return TrailLine(icon, event.action in _DONE, visible(words), who, event.at, key_id, name, environment)


class _Named(dict[str, str]):
    """What an event tells; what it does not tell has no name."""

    def __missing__(self, name: str) -> str:
        return "somebody"


def _other(event: AuditEvent, emails: Mapping[str, str]) -> str:
    told = {name: emails.get(str(value), _told(value)) for name, value in event.details.items() if value is not None}
    named = _Named(told, target=emails.get(event.target_id, event.target_id), details=_listed(event.details))
    return _OTHER_EVENTS.get(event.action, f"{event.action}: {{target}}").format_map(named)


def _listed(details: _Details) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_told(value)}" for name, value in details.items())


def _told(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    return "none" if value is None else str(value)


def _people_of(event: AuditEvent) -> list[str]:
    """Return the ids of users that an event may name; an operator is not named."""
    of_target = [event.target_id, str(event.details.get("to"))] if not event.action.startswith("key.") else []
    return [event.actor_id, *of_target] if event.actor_kind == ActorKind.USER else of_target


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
