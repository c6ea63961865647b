"""What becomes of a token from a login: shared, kept as long as it lasts, and asked for anew when it ends."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mushu.destination import Attempt, Denied, DestinationError, Secret
from mushu.testing.processes import fork, wait_for
from mushu_vault import VaultDestination
from mushu_vault.token import TokenLease, TokenStore
from tests.plugins.mushu_vault.places import KEY, RULES, backend, deliver, logins
from tests.vault.bao import Address
from tests.vault.server import VaultStub

_PATH = "apps/backend"


def test_a_login_serves_many_destinations_and_threads(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules], secret_id_num_uses=1)
    settings = {"addr": stub.address, "role_id": role_id, "secret_id": secret_id}
    with ThreadPoolExecutor(16) as pool:
        held = list(pool.map(lambda _: backend(**settings).read().digest, range(64)))
    assert held == [None] * 64
    assert logins(stub) == 1


def test_another_server_role_or_secret_id_is_another_login(openbao: Address, stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    other_id, other_secret = stub.approle("other", [rules])
    with VaultStub(openbao) as elsewhere:
        elsewhere.policy("keys", RULES)
        backend(addr=stub.address, role_id=role_id, secret_id=secret_id).read()
        backend(addr=stub.address, role_id=role_id, secret_id=stub.secret_id("backend")).read()
        backend(addr=stub.address, role_id=other_id, secret_id=other_secret).read()
        with pytest.raises(Denied, match="refuses the login"):
            backend(addr=elsewhere.address, role_id=role_id, secret_id=secret_id).read()
        assert (logins(stub), logins(elsewhere)) == (3, 1)


def _operations(place: VaultDestination) -> list[Callable[[], object]]:
    version = place.read().version
    receipts: list[Any] = []
    return [
        place.preflight,
        place.read,
        lambda: receipts.append(place.write(KEY, Attempt("att_1", "key_1", version))),
        lambda: place.restore(receipts[0]),
        lambda: place.remove(deliver(place).digest),
    ]


@pytest.mark.parametrize("step", range(20))
def test_wherever_the_token_ends_another_is_asked_for(stub: VaultStub, rules: str, step: int) -> None:
    """Before each request in turn, all tokens end that a login gave."""
    stub.put("secret", _PATH, {"OTHER": "1"})
    role_id, secret_id = stub.approle("backend", [rules])
    place = backend(addr=stub.address, role_id=role_id, secret_id=secret_id)
    operations = _operations(place)
    stub.before(stub.end_logins, skip=step)
    for act in operations:
        act()
    assert stub.kv("secret", _PATH) is not None
    assert place.read().digest is None
    assert logins(stub) == 2


def test_a_token_that_is_soon_over_is_not_used_any_more(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules], token_ttl=1)
    place = backend(addr=stub.address, role_id=role_id, secret_id=secret_id)
    place.read()
    threading.Event().wait(0.95)
    before = len(stub.requests)
    place.read()
    assert [request.status for request in stub.requests[before:]] == [200, 200, 404]


def test_a_policy_that_says_no_costs_no_login(stub: VaultStub) -> None:
    stub.policy("less", {"secret/data/apps/*": ["read"]})
    role_id, secret_id = stub.approle("backend", ["less"], secret_id_num_uses=1)
    place = backend(addr=stub.address, role_id=role_id, secret_id=secret_id)
    version = place.read().version
    for _ in range(3):
        with pytest.raises(Denied, match='"create", "read", "patch"'):
            place.write(KEY, Attempt("att_1", "key_1", version))
    assert logins(stub) == 1


def test_when_the_new_token_is_refused_too_that_is_the_answer(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    stub.fault("error-before", "GET", "*", times=-1, status=403, text="permission denied")
    with pytest.raises(Denied):
        backend(addr=stub.address, role_id=role_id, secret_id=secret_id).read()
    assert logins(stub) == 2


def test_a_forked_child_goes_on_with_the_token_and_is_not_stuck_on_a_lock(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules], secret_id_num_uses=1)
    place = backend(addr=stub.address, role_id=role_id, secret_id=secret_id)
    place.read()
    fault = stub.fault("hold", "POST", "auth/approle/login")
    other_id, other_secret = stub.approle("other", [rules])
    other = backend(addr=stub.address, role_id=other_id, secret_id=other_secret)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.read)
        assert fault.reached.wait(10)
        # That thread holds the lock of its login; the child has no such thread.
        child = fork(lambda: int(place.read().digest is not None or other.read().digest is not None))
        assert wait_for(child) == 0
        fault.released.set()
        assert waiting.result().digest is None
    assert logins(stub) == 3


def test_old_logins_are_forgotten_one_by_one() -> None:
    tokens, made = TokenStore(), []

    def lease(number: int) -> TokenLease:
        made.append(number)
        return TokenLease(Secret(str(number)), None)

    for number in (*range(200), 199, 0):
        assert tokens.obtain((number,), lambda number=number: lease(number)).reveal() == str(number)  # type: ignore[misc]
    assert made == [*range(200), 0]


def test_a_login_that_fails_is_tried_by_whoever_waited() -> None:
    tokens = TokenStore()

    def fail() -> TokenLease:
        raise DestinationError("No.", permanent=False)

    with pytest.raises(DestinationError):
        tokens.obtain(("a",), fail)
    assert tokens.obtain(("a",), lambda: TokenLease(Secret("t"), 1000)).reveal() == "t"


def test_only_the_token_that_ended_is_dropped() -> None:
    tokens = TokenStore()
    first = tokens.obtain(("a",), lambda: TokenLease(Secret("1"), None))
    tokens.drop(("a",), Secret("1"))
    tokens.drop(("b",), first)
    assert tokens.obtain(("a",), lambda: TokenLease(Secret("2"), None)) is first
    tokens.drop(("a",), first)
    assert tokens.obtain(("a",), lambda: TokenLease(Secret("2"), None)).reveal() == "2"
