"""What the organization has settled, applied to a key that is about to be minted."""

from dataclasses import replace
from datetime import datetime

from mushu.duration import written_duration
from mushu.server.clock import rfc3339
from mushu.server.errors import Invalid
from mushu.server.keys.requests import KeyRequest
from mushu.server.keys.scopes import DEFAULT_SCOPES, parse_scopes
from mushu.server.orgs.settings import Rules


def with_defaults(request: KeyRequest, rules: Rules, now: datetime) -> KeyRequest:
    """Return what is asked for, filled in where it says nothing.

    Raises:
        Invalid: the key would live longer than the organization allows.
    """
    expires_at, rotate_every = request.expires_at, request.rotate_every
    latest = now + rules.max_key_age if rules.max_key_age is not None else None
    if latest is not None and expires_at is not None and expires_at > latest and rules.max_key_age is not None:
        raise Invalid(
            f"Keys of this organization live {written_duration(rules.max_key_age)} at the most: until "
            f"{rfc3339(latest)}.",
            field="expires_at",
        )
    if expires_at is None:
        expires_at = now + rules.default_lifetime if rules.default_lifetime is not None else latest
    scopes = request.scopes
    if scopes is None:
        scopes = parse_scopes(rules.default_scopes) if rules.default_scopes is not None else DEFAULT_SCOPES
    if rotate_every is None:
        rotate_every = rules.default_rotate_every
    return replace(request, scopes=scopes, expires_at=expires_at, rotate_every=rotate_every)


def within_limits(request: KeyRequest, rules: Rules, now: datetime) -> KeyRequest:
    """Return what a successor is asked to be, cut to the life that the organization allows: rotation goes on."""
    if rules.max_key_age is None:
        return request
    latest = now + rules.max_key_age
    return replace(request, expires_at=min(request.expires_at or latest, latest))
