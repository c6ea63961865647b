"""How we prove who we are: with a token, or by logging in for one; and the files that hold either."""

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import hvac

from mushu.destination import DestinationError, Secret, is_foreign, others_may_use, user_name
from mushu_vault.connection import VaultReply
from mushu_vault.settings import VaultSettings
from mushu_vault.token import Identity

_KUBERNETES_JWT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
#: As far as the system knows it; a pipe must not keep us waiting.
_UNWAITING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_METHODS: Final = ("token", "approle", "kubernetes", "jwt")
#: Each says that AppRole is meant, where it is set for Mushu; and that a method is, which is not said.
_OF_APPROLE: Final = ("role_id", "secret_id", "wrapped_secret_id_file", "secret_id_file")
_OF_JWT: Final = ("role", "jwt_file")


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token that somebody gave us; when it ends, only they can give another."""

    token: Secret
    #: Where it came from, for messages.
    source: str


@dataclass(frozen=True, slots=True)
class VaultLogin:
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

    def send(self, proof: Secret | None, vault: hvac.Client) -> VaultReply:
        """Send it with `proof`, which is unwrapped by now, and return the answer."""
        secret = None if proof is None else proof.reveal()
        # Each returns what the adapter of a connection makes of an answer.
        if self.method == "approle":
            reply = vault.auth.approle.login(self.role, secret, use_token=False, mount_point=self.mount)
        elif self.method == "kubernetes":
            reply = vault.auth.kubernetes.login(self.role, secret, use_token=False, mount_point=self.mount)
        else:
            reply = vault.auth.jwt.jwt_login(self.role, secret, use_token=False, path=self.mount)
        return cast("VaultReply", reply)


def login_from(settings: VaultSettings) -> GivenToken | VaultLogin:
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


def _guessed(settings: VaultSettings) -> str:
    """Return the method that is set up; a setting of our own goes before a variable that others read, too.

    Raises:
        DestinationError: settings are there that no method would obey; permanent.
    """
    if settings.own("token"):
        return "token"
    if any(map(settings.own, _OF_APPROLE)):
        return "approle"
    useless = next(filter(settings.own, _OF_JWT), None)
    if useless is not None:
        raise DestinationError(
            f"MUSHU_VAULT_{useless.upper()} is set, and MUSHU_VAULT_AUTH is not. Set it to kubernetes or jwt.",
            permanent=True,
        )
    return "approle" if settings.variable("role_id") and not settings.variable("token") else "token"


def _token(settings: VaultSettings) -> GivenToken:
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


def _approle(settings: VaultSettings) -> VaultLogin:
    role_id = settings.find("role_id")
    if not role_id:
        raise DestinationError("VAULT_ROLE_ID is not set. Set it to the role id of the AppRole.", permanent=True)
    mount, given = _mount(settings, "approle"), settings.secret("secret_id")
    wrapped, plain = settings.own("wrapped_secret_id_file"), settings.find("secret_id_file")
    if given is not None:
        return VaultLogin("approle", mount, role_id, given, source="MUSHU_VAULT_SECRET_ID")
    if wrapped:
        wrapping = secret_in(wrapped, "MUSHU_VAULT_WRAPPED_SECRET_ID_FILE")
        return VaultLogin("approle", mount, role_id, wrapping, wrapped=True, source=shown(wrapped))
    proof = secret_in(plain, "VAULT_SECRET_ID_FILE") if plain else None
    return VaultLogin("approle", mount, role_id, proof, source=shown(plain) or "VAULT_ROLE_ID alone")


def _jwt(settings: VaultSettings, method: str) -> VaultLogin:
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
    return VaultLogin(method, _mount(settings, method), role, proof, source=shown(path))


def _mount(settings: VaultSettings, default: str) -> str:
    mount = settings.own("auth_mount").strip("/").removeprefix("auth/") or default
    if not mount.isprintable() or not {"", ".", ".."}.isdisjoint(mount.split("/")):
        raise DestinationError(f"MUSHU_VAULT_AUTH_MOUNT must be the name of a mount, like {default}.", permanent=True)
    return mount


_LARGEST: Final = 64 * 1024


def secret_in(path: str, variable: str, *, may_be_shared: bool = False) -> Secret:
    """Return what the file at `path` holds, without blanks around it.

    Args:
        variable: what names the file, for messages.
        may_be_shared: whoever made the file decides who reads it, as the kubelet does.

    Raises:
        DestinationError: it is not there, others can read it, or it holds nothing of use; permanent.
    """
    problem, found = _opened(path, variable, may_be_shared)
    if problem:
        raise DestinationError(problem, permanent=True)
    return found


def _opened(path: str, variable: str, may_be_shared: bool) -> tuple[str, Secret]:
    """Return what is wrong, or nothing; and what was found."""
    named, nothing = f"{shown(path)} ({variable})", Secret("")
    try:
        # The checks are of what was opened, not of what stands there a moment later.
        descriptor = os.open(path, os.O_RDONLY | _UNWAITING)
    except (OSError, ValueError):
        return f"{named} cannot be read. See whether it is there, and this process may read it.", nothing
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return f"{named} is not a regular file. Name the file.", nothing
        if not may_be_shared and others_may_use(status):
            way_out = f"chmod 600 {shlex.quote(shown(path))}"
            return f"{named} can be read or written by others. Close it with `{way_out}`.", nothing
        if not may_be_shared and is_foreign(status):
            return (
                f"{named} belongs to {user_name(status.st_uid)}, who chose what is in it. Make it anew as this user.",
                nothing,
            )
        held = Secret(os.read(descriptor, _LARGEST + 1).decode("ascii", "replace").strip())
    finally:
        os.close(descriptor)
    return ("", held) if is_token(held) else (f"{named} does not hold one word, as it should. Write it anew.", nothing)


def shown(path: str) -> str:
    """Return `path` fit for a message, whatever its bytes are."""
    return path.encode("unicode_escape").decode("ascii")


def is_token(secret: Secret) -> bool:
    """Tell whether `secret` can stand in a header: one printable word of ASCII, of a decent size."""
    word = secret.reveal()
    return 0 < len(word) <= _LARGEST and all("!" <= letter <= "~" for letter in word)
