"""How we prove who we are: with a token, or by logging in for one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mushu.destination import DestinationError, Secret
from mushu_vault.document import Document
from mushu_vault.files import is_token, secret_in, shown
from mushu_vault.settings import Settings
from mushu_vault.tokens import Identity

_KUBERNETES_JWT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_METHODS: Final = ("token", "approle", "kubernetes", "jwt")


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token that somebody gave us; when it ends, only they can give another."""

    token: Secret
    #: Where it came from, for messages.
    source: str


@dataclass(frozen=True, slots=True)
class Login:
    """What is sent to `auth/MOUNT/login`."""

    method: str
    mount: str
    role: str
    #: Secret id or JWT; None where the role asks for none.
    proof: Secret | None
    #: `proof` is a token that the secret id is wrapped in.
    wrapped: bool = False
    source: str = ""

    @property
    def identity(self) -> Identity:
        """What tells this login from another at the same server; no secret."""
        digest = "" if self.proof is None else self.proof.digest()
        return (self.method, self.mount, self.role, digest, self.wrapped)

    def body(self, proof: Secret | None) -> Document:
        """Return what to send, with `proof` as it is once unwrapped."""
        names = ("role_id", "secret_id") if self.method == "approle" else ("role", "jwt")
        body = Document({names[0]: self.role})
        return body if proof is None else body.beside(names[1], proof.reveal())


def login_from(settings: Settings) -> GivenToken | Login:
    """Return how to prove who we are, from the first source that says so.

    Raises:
        DestinationError: none does, or it lacks something; permanent.
    """
    method = settings.own("auth") or _guessed(settings)
    # A token of one server is not shown to another, which could use it there.
    if settings.is_elsewhere and not settings.own("auth") and not settings.own("token") and not settings.own("role_id"):
        raise DestinationError(
            "This destination is at another server than VAULT_ADDR, so the token of that one is not sent there. Give "
            "it credentials of its own: token, or auth with what that needs.",
            permanent=True,
        )
    if method == "token":
        return _token(settings)
    if method == "approle":
        return _approle(settings)
    if method in _METHODS:
        return _jwt(settings, method)
    raise DestinationError(f"MUSHU_VAULT_AUTH must be one of {', '.join(_METHODS)}.", permanent=True)


def _guessed(settings: Settings) -> str:
    """Return the method that is set up; a setting of our own goes before a variable that others read, too."""
    own = "token" if settings.own("token") else "approle" if settings.own("role_id") else ""
    others = "token" if settings.variable("token") else "approle" if settings.variable("role_id") else "token"
    return own or others


def _token(settings: Settings) -> GivenToken:
    source = "MUSHU_VAULT_TOKEN" if settings.own("token") else "VAULT_TOKEN"
    token = settings.secret("token") or (None if settings.is_elsewhere else settings.secret_variable("token"))
    path = Path(settings.home() or "/nonexistent") / ".vault-token"
    if token is not None:
        if not is_token(token):
            raise DestinationError(f"{source} is not one printable word. Set it to the token alone.", permanent=True)
        return GivenToken(token, source)
    if settings.is_elsewhere or not path.exists():
        raise DestinationError(
            "There is no token for Vault. Set VAULT_TOKEN, or log in with `vault login`; a service sets VAULT_ROLE_ID "
            "and VAULT_SECRET_ID_FILE, or MUSHU_VAULT_AUTH=kubernetes.",
            permanent=True,
        )
    return GivenToken(secret_in(str(path), "the token of `vault login`"), str(path))


def _approle(settings: Settings) -> Login:
    role_id = settings.find("role_id")
    if not role_id:
        raise DestinationError("VAULT_ROLE_ID is not set. Set it to the role id of the AppRole.", permanent=True)
    mount, given = _mount(settings, "approle"), settings.secret("secret_id")
    wrapped, plain = settings.own("wrapped_secret_id_file"), settings.find("secret_id_file")
    if given is not None:
        return Login("approle", mount, role_id, given, source="MUSHU_VAULT_SECRET_ID")
    if wrapped:
        wrapping = secret_in(wrapped, "MUSHU_VAULT_WRAPPED_SECRET_ID_FILE")
        return Login("approle", mount, role_id, wrapping, wrapped=True, source=shown(wrapped))
    proof = secret_in(plain, "VAULT_SECRET_ID_FILE") if plain else None
    return Login("approle", mount, role_id, proof, source=shown(plain) or "VAULT_ROLE_ID alone")


def _jwt(settings: Settings, method: str) -> Login:
    role = settings.own("role")
    if not role:
        raise DestinationError(
            f"MUSHU_VAULT_AUTH={method} also needs MUSHU_VAULT_ROLE, the role's name.", permanent=True
        )
    path = settings.own("jwt_file") or (_KUBERNETES_JWT if method == "kubernetes" else "")
    if not path:
        raise DestinationError("MUSHU_VAULT_AUTH=jwt also needs MUSHU_VAULT_JWT_FILE.", permanent=True)
    # Whoever issues these decides who reads them: in a pod, the group does.
    proof = secret_in(path, "MUSHU_VAULT_JWT_FILE", may_be_shared=True)
    return Login(method, _mount(settings, method), role, proof, source=shown(path))


def _mount(settings: Settings, default: str) -> str:
    mount = settings.own("auth_mount").strip("/").removeprefix("auth/") or default
    if not mount.isprintable() or not {"", ".", ".."}.isdisjoint(mount.split("/")):
        raise DestinationError(f"MUSHU_VAULT_AUTH_MOUNT must be the name of a mount, like {default}.", permanent=True)
    return mount
