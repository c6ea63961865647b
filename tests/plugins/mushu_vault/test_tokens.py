"""What becomes of a token from a login: shared, kept as long as it lasts, and asked for anew when it ends."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mushu.destination import Denied, DestinationError, Secret
from mushu.testing.processes import fork, wait_for
from mushu_vault import VaultDestination
from mushu_vault.token import TokenLease, TokenStore
from tests.plugins.mushu_vault.places import KEY, RULES, at, backend, deliver, logins, refused, role_of
from tests.vault.bao import Address
from tests.vault.server import VaultStub

pytestmark = pytest.mark.unmeasured

_PATH = "apps/backend"


def test_a_login_serves_many_destinations_and_threads(stub: VaultStub, rules: str) -> None:
    settings = role_of(stub, rules, secret_id_num_uses=1)
    with ThreadPoolExecutor(16) as pool:
        held = list(pool.map(lambda _: backend(**settings).read().digest, range(64)))
    assert held == [None] * 64
    assert logins(stub) == 1


def test_another_server_role_or_secret_id_is_another_login(openbao: Address, stub: VaultStub, rules: str) -> None:
    settings = role_of(stub, rules)
    with VaultStub(openbao) as elsewhere:
        elsewhere.policy("keys", RULES)
        for own in (settings, settings | {"secret_id": stub.secret_id("backend")}, role_of(stub, rules, "other")):
            backend(**own).read()
        refused(backend(**settings | {"addr": elsewhere.address}).read, "refuses the login", kind=Denied)
        assert (logins(stub), logins(elsewhere)) == (3, 1)


def _operations(place: VaultDestination) -> list[Callable[[], object]]:
    version = place.read().version
    receipts: list[Any] = []
    return [
        place.preflight,
        place.read,
        lambda: receipts.append(place.write(KEY, at(version))),
        lambda: place.restore(receipts[0]),
        lambda: place.remove(deliver(place).digest),
    ]


@pytest.mark.parametrize("step", range(20))
def test_wherever_the_token_ends_another_is_asked_for(stub: VaultStub, rules: str, step: int) -> None:
    """Before each request in turn, all tokens end that a login gave."""
    stub.put("secret", _PATH, {"OTHER": "1"})
    place = backend(**role_of(stub, rules))
    operations = _operations(place)
    stub.before(stub.end_logins, skip=step)
    for act in operations:
        act()
    assert stub.kv("secret", _PATH) is not None
    assert place.read().digest is None
    assert logins(stub) == 2


def test_a_token_that_is_soon_over_is_not_used_any_more(stub: VaultStub, rules: str) -> None:
    place = backend(**role_of(stub, rules, token_ttl=1))
    place.read()
    threading.Event().wait(0.95)
    before = len(stub.requests)
    place.read()
    assert [request.status for request in stub.requests[before:]] == [200, 200, 404]


def test_a_policy_that_says_no_costs_no_login(stub: VaultStub) -> None:
    stub.policy("less", {"secret/data/apps/*": ["read"]})
    place = backend(**role_of(stub, "less", secret_id_num_uses=1))
    version = place.read().version
    for _ in range(3):
        refused(lambda: place.write(KEY, at(version)), '"create", "read", "update"', kind=Denied)
    assert logins(stub) == 1


def test_when_the_new_token_is_refused_too_that_is_the_answer(stub: VaultStub, rules: str) -> None:
    stub.fault("error-before", "GET", "*", times=-1, status=403, text="permission denied")
    refused(backend(**role_of(stub, rules)).read, kind=Denied)
    assert logins(stub) == 2


def test_a_forked_child_goes_on_with_the_token_and_is_not_stuck_on_a_lock(stub: VaultStub, rules: str) -> None:
    place = backend(**role_of(stub, rules, secret_id_num_uses=1))
    place.read()
    fault = stub.fault("hold", "POST", "auth/approle/login")
    other = backend(**role_of(stub, rules, "other"))
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

    refused(lambda: tokens.obtain(("a",), fail))
    assert tokens.obtain(("a",), lambda: TokenLease(Secret("t"), 1000)).reveal() == "t"


def test_only_the_token_that_ended_is_dropped() -> None:
    tokens = TokenStore()
    first = tokens.obtain(("a",), lambda: TokenLease(Secret("1"), None))
    tokens.drop(("a",), Secret("1"))
    tokens.drop(("b",), first)
    assert tokens.obtain(("a",), lambda: TokenLease(Secret("2"), None)) is first
    tokens.drop(("a",), first)
    assert tokens.obtain(("a",), lambda: TokenLease(Secret("2"), None)).reveal() == "2"
