"""Wrapped answers: a token that can be turned into the answer once."""

import uuid

from tests.vault.answers import Refused, Reply, bare
from tests.vault.calls import Call
from tests.vault.tokens import Token, Tokens, new_id
from tests.vault.values import written

_INVALID = "wrapping token is not valid or does not exist"


class Wrapping:
    """`sys/wrapping/`."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def wrap(self, reply: Reply, ttl: int, path: str, namespace: str = "") -> Reply:
        """Put an answer away; return what is told instead of it."""
        token = Token(new_id(namespace), ["response-wrapping"], namespace, ttl, uses=1, path=path, wrapped=reply)
        self._tokens.add(token)
        told = {
            "token": token.id,
            "accessor": token.accessor,
            "ttl": ttl,
            "creation_time": written(token.created),
            "creation_path": path,
        }
        wrapped = reply.auth["accessor"] if reply.auth else (reply.data or {}).get("secret_id_accessor")
        return Reply(wrap_info=told | ({"wrapped_accessor": wrapped} if wrapped else {}))

    def token_of(self, call: Call) -> Token:
        """Return the token that a call is about: the one in its body, or its own. Raises: Refused."""
        given = call.fields.get("token")
        if given is not None and not isinstance(given, str):
            raise Refused(403, "error validating wrapping token: could not decode token in request body")
        if given == "":
            raise Refused(403, "error validating wrapping token: empty token in request body")
        if not (given or call.token):
            raise Refused(403, "error validating wrapping token: token is empty")
        token = self._tokens.find(given or call.token)
        if token is None or token.wrapped is None:
            raise Refused(400, _INVALID)
        return token

    def unwrap(self, call: Call) -> Reply:
        """Raises: Refused."""
        token = self.token_of(call)
        self._tokens.revoke(token.id)
        return token.wrapped or bare(204)

    def lookup(self, call: Call) -> Reply:
        """Raises: Refused."""
        token = self.token_of(call)
        times = {"creation_time": written(token.created), "creation_ttl": token.ttl}
        return Reply(times | {"creation_path": token.path})


def secret_id_reply(secret_id: str, num_uses: int) -> Reply:
    """Return the answer that hands out a secret id, as it gets wrapped."""
    data = {"secret_id": secret_id, "secret_id_accessor": str(uuid.uuid4())}
    return Reply(data | {"secret_id_num_uses": num_uses, "secret_id_ttl": 0})
