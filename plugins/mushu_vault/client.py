"""Asking a server as somebody: with a token, with a new one when it has ended, a second time where that is safe."""

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from mushu.destination import Denied, DestinationError, Secret
from mushu_vault.connection import VaultConnection, VaultReply, VaultRequest
from mushu_vault.errors import Unanswered, unexpected
from mushu_vault.login import GivenToken, VaultLogin
from mushu_vault.token import SHARED, Identity, TokenLease

#: Enough for whatever may be at a path, in either version of the engine; and for a look at it.
EVERYTHING: Final = frozenset({"create", "read", "update"})
A_LOOK: Final = frozenset({"read"})

# Seconds to wait before a question that changes nothing is asked again. The caller is patient, too, and for longer.
_PAUSES: Final = (0.05, 0.25)


def asked(send: Callable[[], VaultReply]) -> VaultReply:
    """Send what changes nothing, up to three times; raises as `send` does."""
    for pause in _PAUSES:
        try:
            reply = send()
        except Unanswered as error:
            if error.permanent or error.timed_out:  # three times would be too long
                raise
        else:
            if reply.status not in (412, 500, 502, 504):
                return reply
        time.sleep(pause)
    return send()


class VaultClient:
    """One server, asked with one identity, for one operation.

    Args:
        wanted: what the operation must be allowed at the path of the secret, at most.
    """

    def __init__(
        self, connection: VaultConnection, way_in: GivenToken | VaultLogin, wanted: Collection[str] = EVERYTHING
    ) -> None:
        self.server = connection.server
        self.wanted = wanted
        self._connection = connection
        self._way_in = way_in
        self._logged_in_again = False

    def ask(self, request: VaultRequest) -> VaultReply:
        """Send a request that changes nothing, up to three times.

        Raises:
            DestinationError: the login failed, or there was no answer.
        """
        return asked(partial(self.send, request))

    def send(self, request: VaultRequest) -> VaultReply:
        """Send `request` and return the answer; a second time only if it was refused because the token had ended.

        Raises:
            Unanswered: there was no answer.
            DestinationError: the login failed; the request was not sent.
        """
        token = self._token()
        reply = self._connection.exchange(request, token)
        if reply.status != 403 or not self._renewed(token):
            return reply
        return self._connection.exchange(request, self._token())

    def attempt(self, request: VaultRequest) -> VaultReply | None:
        """Send `request`, and return None where there is no answer: for what may fail without harm."""
        try:
            return self.send(request)
        except DestinationError:
            return None

    def has_valid_token(self) -> bool | None:
        """Tell whether the server knows our token; None where it does not say."""
        try:
            status = self._connection.exchange(lambda vault: vault.auth.token.lookup_self(), self._token()).status
        except DestinationError:
            return None
        return {200: True, 403: False}.get(status)

    def token_fault(self, path: str) -> Denied | None:
        """Return what is wrong with the token itself, where that is why it was refused at `path`; None if nothing is.

        A token that is not known is refused as such, before any policy is looked at; where a policy says no, the
        refusal counts its errors. And a token says which namespace it belongs to.
        """
        try:
            reply = self._connection.exchange(lambda vault: vault.auth.token.lookup_self(), self._token())
        except DestinationError:
            return None
        if reply.status == 403 and not reply.mentions("1 error occurred"):
            return Denied(
                f"{self.server.url} does not know the token from {self.token_source}: it has ended, was used up or "
                "was revoked. Get a new one."
            )
        home = "" if reply.body is None else (reply.body.text("data", "namespace_path") or "").strip("/")
        if home and home.isprintable() and not f"{self.server.namespace}/{path}".strip("/").startswith(f"{home}/"):
            return Denied(
                f"The token from {self.token_source} belongs to the namespace {home}, and may do nothing outside of "
                f"it. Set VAULT_NAMESPACE={home}, or use a token of {self.server.namespace or 'the uppermost one'}."
            )
        return None

    @property
    def token_source(self) -> str:
        """Where the token comes from, for messages."""
        return self._way_in.source

    def _token(self) -> Secret:
        if isinstance(self._way_in, GivenToken):
            return self._way_in.token
        return SHARED.obtain(self._identity(self._way_in), partial(self._log_in, self._way_in))

    def _renewed(self, token: Secret) -> bool:
        """Drop a token of ours that has ended, so that the next is asked for; at most once in an operation.

        A policy that does not allow the request is answered just the same, and to log in for that would waste a secret
        id. So the server is asked about the token. One that may not even ask that counts as ended, once.
        """
        if isinstance(self._way_in, GivenToken) or self._logged_in_again:
            return False
        if self.has_valid_token() is not False:
            return False
        self._logged_in_again = True
        SHARED.drop(self._identity(self._way_in), token)
        return True

    def _identity(self, login: VaultLogin) -> Identity:
        return (self.server, login.identity)

    def _log_in(self, login: VaultLogin) -> TokenLease:
        proof = login.proof
        if login.wrapped and proof is not None:
            proof = SHARED.obtain((*self._identity(login), "unwrapped"), partial(self._unwrap, login, proof))
        reply = self._connection.exchange(partial(login.send, proof), None)
        token = None if reply.body is None else reply.body.text("auth", "client_token")
        if reply.is_success and reply.body is not None and token:
            return TokenLease(Secret(token), reply.body.number("auth", "lease_duration") or None)
        del token
        if login.method == "approle" and login.proof is None and reply.status == 400:
            raise Denied(
                f"{self.server.url} refuses the login at auth/{login.mount} with VAULT_ROLE_ID alone. Set "
                "VAULT_SECRET_ID_FILE to a file with a secret id of the role."
            )
        if 400 <= reply.status < 500 and reply.status not in (412, 429):
            raise Denied(
                f"{self.server.url} refuses the login at auth/{login.mount} with {login.source}. See whether the "
                "mount, the role and the namespace are right, and whether that file or setting has ended or is used up."
            )
        raise unexpected(self.server.url, 500 if reply.is_success else reply.status, reply.location)

    def _unwrap(self, login: VaultLogin, wrapping: Secret) -> TokenLease:
        """Take the secret id out of its wrapping, which anybody can do, once.

        Looked at first, because somebody who took it could have put a wrapping of their own in its place.
        """
        looked = self._connection.exchange(lambda vault: vault.adapter.post("/v1/sys/wrapping/lookup"), wrapping)
        origin = "" if looked.body is None else looked.body.text("data", "creation_path") or ""
        if looked.is_success and not _makes_secret_ids(origin, login):
            raise Denied(
                f"What is wrapped in {login.source} was not made by auth/{login.mount}. Somebody may have put it there "
                "in place of the secret id. Find out in the audit log, then make a new one."
            )
        reply = self._connection.exchange(lambda vault: vault.sys.unwrap(), wrapping) if looked.is_success else looked
        secret_id = None if reply.body is None else reply.body.text("data", "secret_id")
        if reply.is_success and secret_id:
            return TokenLease(Secret(secret_id), None)
        del secret_id
        if reply.is_success or reply.status in (400, 403, 404):
            raise Denied(
                f"The secret id in {login.source} could not be unwrapped. Either its time was over, or it was "
                "unwrapped before: if not by you, somebody intercepted it. Find out in the audit log, destroy "
                "the secret id, then make a new one."
            )
        raise unexpected(self.server.url, reply.status, reply.location)


def _makes_secret_ids(path: str, login: VaultLogin) -> bool:
    return path.startswith(f"auth/{login.mount}/role/") and path.endswith("secret-id")
