"""What our token may do: found out before anything is minted, and said such that it can be pasted."""

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mushu.destination import Denied, Surroundings
from mushu_vault import VaultDestination
from mushu_vault.policy import stanza
from tests.plugins.mushu_vault.places import KEY, STATES, at, deliver, destination, prepared, refused
from tests.vault.real import RealVault
from tests.vault.server import VaultStub

pytestmark = pytest.mark.unmeasured

_PATH = "apps/backend"
_WORDS = ("create", "read", "update", "patch")


def _rules(message: str) -> dict[str, list[str]]:
    """Return the stanzas in `message`, read as HCL is."""
    found = re.findall(r'path "((?:[^"\\]|\\.)*)" \{ capabilities = \[([^\]]*)\] \}', message)
    return {path.replace('\\"', '"').replace("\\\\", "\\"): re.findall(r'"(\w+)"', words) for path, words in found}


def _token(vault: RealVault, rules: Mapping[str, Iterable[str]], namespace: str = "") -> str:
    name = f"mushu-{next(_NUMBERS)}"
    vault.policy(name, rules, namespace=namespace)
    return vault.token([name], namespace=namespace)


def _permitted(vault: RealVault, mount: str, rules: Mapping[str, Iterable[str]]) -> VaultDestination:
    return destination(vault, f"{mount}/{_PATH}", token=_token(vault, rules))


def _refusal(act: Callable[[], object]) -> str:
    """Return what `act` is denied with, or nothing."""
    denied = None
    try:
        act()
    except Denied as error:
        denied = error
    assert denied is None or denied.__context__ is None
    return str(denied or "")


_NUMBERS = itertools.count()
_SUBSETS = [
    pytest.param(words, id="+".join(words) or "nothing")
    for size in range(len(_WORDS) + 1)
    for words in itertools.combinations(_WORDS, size)
]


@pytest.mark.parametrize(("version", "state"), STATES)
@pytest.mark.parametrize("words", _SUBSETS)
def test_what_preflight_says_is_what_is_missing_and_enough(
    vault: RealVault, version: int, state: str, words: tuple[str, ...]
) -> None:
    """With what it asks for, and nothing else, everything can be done; with what it does not complain of, too."""
    mount = prepared(vault, version, state)
    path = vault.data(mount, _PATH)
    place = _permitted(vault, mount, {path: words, vault.data(mount, "other"): ["read"]})
    denied = _refusal(place.preflight)
    if denied:
        rules = _rules(denied)
        assert list(rules) == [path]
        # Where the secret can be seen, these are the fewest: without any of them, it complains.
        for word in set(rules[path]) - set(words) if version == 2 and "read" in words else ():
            assert _refusal(_permitted(vault, mount, {path: set(rules[path]) - {word}}).preflight)
        place = _permitted(vault, mount, rules)
        place.preflight()
    receipt = deliver(place)
    assert place.read().digest == KEY.digest()
    assert place.restore(receipt)


@pytest.mark.parametrize(("version", "state"), STATES)
@pytest.mark.parametrize("words", _SUBSETS)
def test_a_write_that_is_refused_says_the_same(
    vault: RealVault, version: int, state: str, words: tuple[str, ...]
) -> None:
    mount = prepared(vault, version, state)
    attempt = at(destination(vault, f"{mount}/{_PATH}").read().version)
    rules = {vault.data(mount, _PATH): words, vault.data(mount, "other"): ["read"]}
    place = _permitted(vault, mount, rules)
    denied = _refusal(lambda: place.write(KEY, attempt))
    if denied:
        _permitted(vault, mount, _rules(denied)).write(KEY, attempt)
    assert KEY.reveal() in str(vault.kv(mount, _PATH))


@pytest.mark.parametrize(
    ("state", "words", "wanted"),
    [
        ("never", ["read"], '"create", "read", "update"'),
        ("never", ["read", "update"], '"create", "read", "update"'),
        ("there", ["read"], '"read", "patch"'),
        ("there", ["patch"], '"create", "read", "update", "patch"'),
        ("deleted", ["read", "patch"], '"read", "update", "patch"'),
        ("never", ["read", "delete", "list"], '"create", "read", "update", "delete", "list"'),
    ],
)
def test_the_policy_is_the_shortest_and_keeps_what_was_granted(
    vault: RealVault, state: str, words: list[str], wanted: str
) -> None:
    mount = prepared(vault, 2, state)
    said = refused(_permitted(vault, mount, {f"{mount}/data/*": words}).preflight, kind=Denied)
    assert f'path "{mount}/data/{_PATH}" {{ capabilities = [{wanted}] }}' in said


def test_a_secret_of_metadata_alone_needs_update_and_a_refusal_says_so(vault: RealVault, kv2: str) -> None:
    """It cannot be told from none at all before; a write to it is an update all the same."""
    vault.do("POST", f"{kv2}/metadata/{_PATH}", {"cas_required": True, "custom_metadata": {"owner": "x"}})
    token = _token(vault, {f"{kv2}/data/*": ["create", "read", "patch"]})
    place = destination(vault, f"{kv2}/{_PATH}", token=token)
    said = refused(lambda: deliver(place), "may not update", kind=Denied)
    permitted = destination(vault, f"{kv2}/{_PATH}", token=_token(vault, _rules(said)))
    receipt = deliver(permitted)
    assert permitted.restore(receipt)
    found = vault.ask("GET", f"{kv2}/metadata/{_PATH}")["data"]
    assert found["cas_required"] is True
    assert found["custom_metadata"] == {"owner": "x"}


def test_a_token_that_may_do_nothing_there_is_told_for_both_versions(vault: RealVault, kv2: str, kv1: str) -> None:
    for mount in (kv2, kv1):
        place = destination(vault, f"{mount}/{_PATH}", token=vault.token())
        for act in (place.read, place.preflight):
            rules = _rules(refused(act, "There is no mount for", kind=Denied))
        assert set(rules) == {f"{mount}/data/{_PATH}", f"{mount}/apps/data/backend", f"{mount}/{_PATH}"}
        permitted = destination(vault, f"{mount}/{_PATH}", token=_token(vault, rules))
        permitted.preflight()
        deliver(permitted)


@pytest.mark.fault
@pytest.mark.parametrize(("namespace", "mount"), [("", "mushu-team/a/kv"), ("mushu-team-a", "kv")])
def test_the_policy_for_a_mount_of_several_names_or_below_a_namespace_is_among_those(
    vault: RealVault, namespace: str, mount: str
) -> None:
    if namespace:
        vault.namespace(namespace)
    vault.mount(mount, namespace=namespace)
    place = f"{namespace}/{mount}".strip("/")
    said = refused(destination(vault, f"{place}/{_PATH}", token=vault.token()).preflight, kind=Denied)
    assert said.endswith("`.")
    rules = {f"{place}/data/{_PATH}": _rules(said)[f"{place}/data/{_PATH}"]}
    permitted = destination(vault, f"{place}/{_PATH}", token=_token(vault, rules))
    permitted.preflight()
    deliver(permitted)


@pytest.mark.fault
def test_a_path_with_metadata_alone_is_told_of_before_anything_is_made(vault: RealVault, kv2: str) -> None:
    vault.do("POST", f"{kv2}/metadata/{_PATH}", {"max_versions": 3})
    short = {vault.data(kv2, _PATH): ["create", "read", "patch"], f"{kv2}/metadata/{_PATH}": ["read"]}
    refused(_permitted(vault, kv2, short).preflight, "may not update", kind=Denied)
    said = refused(_permitted(vault, kv2, {vault.data(kv2, _PATH): ["read"]}).preflight, kind=Denied)
    assert said.endswith("`.")
    deliver(_permitted(vault, kv2, _rules(said)))


def test_a_mount_that_is_not_there_is_said_to_be_perhaps_not_there(vault: RealVault) -> None:
    place = destination(vault, "mushu-nowhere/apps/backend")
    for act in (place.preflight, place.read):
        refused(act, "no mount for mushu-nowhere/apps/backend", kind=Denied)


def test_a_policy_is_told_for_the_namespace(vault: RealVault) -> None:
    vault.namespace("mushu-policies")
    vault.mount("kv", namespace="mushu-policies")
    token = _token(vault, {"kv/data/*": ["read"]}, "mushu-policies")
    settings = {"addr": vault.address, "token": token}
    place = VaultDestination.parse(f"vault:kv/{_PATH}?namespace=mushu-policies", _surroundings(settings))
    assert place is not None
    said = refused(place.preflight, "in the namespace mushu-policies", kind=Denied)
    rules = _rules(said)
    assert list(rules) == [f"kv/data/{_PATH}"]
    permitted = _surroundings(settings | {"token": _token(vault, rules, "mushu-policies")})
    place = VaultDestination.parse(place.uri, permitted)
    assert place is not None
    place.preflight()
    deliver(place)


def test_what_else_is_mounted_there_stores_no_keys(vault: RealVault) -> None:
    vault.mount("mushu-transit", 1, kind="transit")
    refused(destination(vault, f"mushu-transit/{_PATH}").preflight, "is not KV", permanent=True)


def test_a_mount_of_version_1_is_known_by_saying_nothing_of_versions(vault: RealVault) -> None:
    vault.mount("mushu-generic", 1, kind="generic")
    assert deliver(destination(vault, f"mushu-generic/{_PATH}")).version.startswith("v1-")


def test_a_mount_is_no_secret(vault: RealVault) -> None:
    vault.mount("mushu-a/b")
    refused(destination(vault, "mushu-a/b").read, "is itself a mount", permanent=True)


@pytest.mark.parametrize("status", [403, 404])
def test_without_leave_to_ask_it_goes_on_and_says_so(
    stub: VaultStub, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.WARNING)
    stub.fault("error-before", "POST", "sys/capabilities-self", times=-1, status=status, text="permission denied")
    place = destination(stub, f"secret/{_PATH}")
    place.preflight()
    assert "may not ask sys/capabilities-self" in caplog.text
    deliver(place)


def test_without_leave_to_ask_a_read_that_is_refused_is_told_all(stub: VaultStub) -> None:
    stub.fault("error-before", "POST", "sys/capabilities-self", times=-1, status=403, text="permission denied")
    place = destination(stub, f"secret/{_PATH}", token=_token(stub, {"secret/data/*": ["create"]}))
    refused(place.preflight, '"create", "read", "update"', kind=Denied)


@pytest.mark.parametrize(
    ("kind", "match"),
    [("cut-before", None), ("error-before", None), ("html", "not Vault's"), ("errors-in-200", "not Vault's")],
)
def test_when_there_is_no_answer_about_capabilities_it_is_not_guessed_at_and_that_passes(
    stub: VaultStub, kind: Any, match: str | None
) -> None:
    stub.fault(kind, "POST", "sys/capabilities-self", times=3)
    refused(destination(stub, f"secret/{_PATH}").preflight, match, permanent=False)


def test_a_refusal_that_no_policy_explains_says_so(stub: VaultStub) -> None:
    """A policy can restrict parameters, and other rules than policies exist."""
    place = destination(stub, f"secret/{_PATH}")
    version = place.read().version
    stub.fault("error-before", "P*", f"secret/data/{_PATH}", times=-1, status=403, text="permission denied")
    refused(lambda: place.write(KEY, at(version)), "though a policy allows it", kind=Denied)


def test_when_a_refusal_cannot_be_explained_all_is_asked_for(stub: VaultStub) -> None:
    place = destination(stub, f"secret/{_PATH}")
    stub.fault("error-before", "GET", f"secret/data/{_PATH}", times=-1, status=403, text="permission denied")
    stub.fault("error-before", "POST", "sys/capabilities-self", times=3)
    refused(lambda: place.remove(KEY.digest()), '"create", "read", "update"', kind=Denied)


@pytest.mark.fault
def test_a_look_asks_for_no_more_than_read(vault: RealVault, kv2: str) -> None:
    place = _permitted(vault, kv2, {vault.data(kv2, "other"): ["read"]})
    assert _rules(refused(place.read, kind=Denied)) == {vault.data(kv2, _PATH): ["read"]}


def test_a_stanza_is_one_line_of_hcl_whatever_the_path() -> None:
    assert stanza('kv/data/a"b\\c', {"patch", "read", "x"}) == (
        'path "kv/data/a\\"b\\\\c" { capabilities = ["read", "patch", "x"] }'
    )


def test_preflight_writes_nothing(stub: VaultStub) -> None:
    destination(stub, f"secret/{_PATH}").preflight()
    assert {(request.method, request.path) for request in stub.requests if request.method != "GET"} == {
        ("POST", "sys/capabilities-self")
    }


def _surroundings(settings: dict[str, str]) -> Surroundings:
    return Surroundings(Path("/nowhere"), settings)
