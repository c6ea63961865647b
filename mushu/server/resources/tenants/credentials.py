"""Apple's credentials for one app: checked before anything is stored, and opened only to sign."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mushu.secret import Secret
from mushu.server.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

#: As Apple writes them: capitals and digits, ten of them.
_TEN: Final = re.compile(r"[A-Z0-9]{10}")
_BUNDLE_ID: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_BUNDLE_ID_LENGTH: Final = 155
_PEM_LENGTH: Final = 4_000


@dataclass(frozen=True, slots=True)
class ApnsCredentials:
    """What signs a provider token: the names of the team and of the key, and the key."""

    team_id: str
    key_id: str
    private_key: Secret


def checked_bundle_id(bundle_id: str) -> str:
    """Return the bundle id.

    Raises:
        Invalid: it is not one. It stands in a header of every notification, so nothing else may be in it.
    """
    if len(bundle_id) > _BUNDLE_ID_LENGTH or not _BUNDLE_ID.fullmatch(bundle_id):
        raise Invalid("A bundle id looks like com.example.shop: letters, digits, - and dots.", field="bundle_id")
    return bundle_id


def checked_credentials(team_id: str | None, key_id: str | None, private_key: Secret | None) -> ApnsCredentials | None:
    """Return the credentials, the key in its usual form; None where none are given.

    Raises:
        Invalid: only some of them are given, or one of them is not what Apple gives. The key is never repeated.
    """
    if not team_id and not key_id and (private_key is None or not private_key.reveal()):
        return None
    if not team_id or not key_id or private_key is None or not private_key.reveal():
        raise Invalid(
            "Apple's credentials belong together: team_id, key_id and private_key; or none of them, and notifications "
            "go to the outbox.",
            field="private_key",
        )
    for name, value in (("team_id", team_id), ("key_id", key_id)):
        if not _TEN.fullmatch(value):
            raise Invalid(f"{name} is ten capitals and digits, as Apple's developer pages show it.", field=name)
    return ApnsCredentials(team_id, key_id, _checked_key(private_key))


def load_key(private_key: Secret) -> "EllipticCurvePrivateKey":
    """Return the key that `checked_credentials` let in.

    Raises:
        ValueError: it let in no such key.
    """
    found = _parsed(private_key)
    if found is None:
        raise ValueError("not a P-256 key in PEM")
    return found


def _checked_key(private_key: Secret) -> Secret:
    parsed = _parsed(private_key) if len(private_key.reveal()) <= _PEM_LENGTH else None
    if parsed is None:
        raise Invalid(
            "private_key must be the content of the AuthKey_….p8 file that Apple gave you: a P-256 key in PEM, without "
            "a password.",
            field="private_key",
        )
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Secret(parsed.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _parsed(private_key: Secret) -> "EllipticCurvePrivateKey | None":
    # Loaded here: whoever signs nothing does not pay for it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    is_p256 = isinstance(found, EllipticCurvePrivateKey) and isinstance(found.curve, SECP256R1)
    return found if is_p256 else None  # type: ignore[return-value]
