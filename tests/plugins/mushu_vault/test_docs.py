"""The two pages about Vault name every setting that is read, quote what is said, and print policies that suffice."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import certifi
import pytest

from mushu.destination import Denied, Surroundings
from mushu_vault import VaultDestination
from tests.plugins.mushu_vault.places import (
    FIELD,
    KEY,
    STATES,
    deliver,
    destination,
    fields_of,
    metadata_of,
    prepared,
    refused,
)
from tests.vault.real import RealVault

_ROOT: Final = Path(__file__).resolve().parents[3]
_REFERENCE: Final = (_ROOT / "docs" / "destinations" / "vault.md").read_text()
_GUIDE: Final = (_ROOT / "docs" / "vault.md").read_text()
_TREES: Final = [ast.parse(path.read_text()) for path in sorted((_ROOT / "plugins" / "mushu_vault").glob("*.py"))]

# Methods of `Settings`, and where each of them looks.
_OWN: Final = ("own", "find", "secret", "seconds")
_VARIABLES: Final = ("variable", "find", "secret_variable")


def _asked_for() -> Iterator[tuple[str, str]]:
    """Yield every setting that the plugin asks for by name, with the method of `Settings` that it asks."""
    for tree in _TREES:
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name)), *_]):
                    if method in (*_OWN, *_VARIABLES):
                        yield method, name


def _variables_read() -> set[str]:
    found = set(_asked_for())
    own = {f"MUSHU_VAULT_{name.upper()}" for method, name in found if method in _OWN}
    others = {name.upper() for method, name in found if method in _VARIABLES}
    return own | {f"{prefix}_{name}" for prefix in ("VAULT", "BAO") for name in others}


def test_every_setting_that_is_read_is_in_the_reference_and_none_that_is_not() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|([^|]*)\|", _REFERENCE, re.MULTILINE)
    assert all(variable == f"MUSHU_VAULT_{name.upper()}" for name, variable, _ in rows)
    named = {variable for _, variable, _ in rows} | {name for _, _, cell in rows for name in re.findall(r"\w+", cell)}
    assert named == _variables_read()
    assert len(named) > 40


def test_every_setting_that_is_read_is_declared_and_none_that_is_not() -> None:
    assert {name for method, name in _asked_for() if method in _OWN} == VaultDestination.known_settings


def test_every_variable_that_the_guide_names_is_one_that_is_read() -> None:
    named = set(re.findall(r"\b(?:MUSHU_VAULT|VAULT|BAO)_[A-Z_]+\b", _GUIDE))
    assert named
    assert named <= _variables_read()


def test_every_refusal_is_quoted_as_it_is_said() -> None:
    quoted = re.findall(r'^\| "([^"]+)" \|', _REFERENCE, re.MULTILINE)
    texts = [node.value for tree in _TREES for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    said = [text for text in texts if isinstance(text, str)]
    assert len(quoted) > 20
    assert [quote for quote in quoted if not any(quote in text for text in said)] == []


@pytest.mark.parametrize("page", [_REFERENCE, _GUIDE], ids=["reference", "guide"])
def test_every_uri_that_is_shown_is_one(page: str) -> None:
    uris = re.findall(r"(?<![`\w])vault:[\w/-]+(?:\?[\w=-]+)?#\w+", page)
    assert uris
    for uri in uris:
        made = VaultDestination.parse(uri, Surroundings(Path("/nowhere")))
        assert made is not None
        assert made.uri == uri


def _policy(name: str) -> dict[str, list[str]]:
    """Return the rules of the policy that the guide prints under `name`."""
    found = re.search(rf"^```hcl {re.escape(name)}\n(.*?)^```", _GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None
    stanzas = re.findall(r'path "([^"]+)" \{\s*capabilities = \[([^\]]*)\]\s*\}', found[1])
    assert len(stanzas) == found[1].count("path ")
    return {path: re.findall(r'"(\w+)"', words) for path, words in stanzas}


def _moved(rules: dict[str, list[str]], mount: str) -> dict[str, list[str]]:
    """Return `rules` for another mount than the one that people have."""
    return {f"{mount}/{path.partition('/')[2]}": words for path, words in rules.items()}


def _token(vault: RealVault, mount: str, name: str) -> str:
    policy = f"{mount}-{name.partition('.')[0]}"
    vault.policy(policy, _moved(_policy(name), mount))
    return vault.token([policy])


@pytest.mark.parametrize(("version", "state"), [*STATES, (2, "destroyed")])
def test_the_policy_that_is_printed_is_enough_for_all_that_is_done(vault: RealVault, version: int, state: str) -> None:
    mount = prepared(vault, version, state)
    token = _token(vault, mount, "mushu.hcl" if version == 2 else "mushu-v1.hcl")
    place = destination(vault, f"{mount}/apps/backend", token=token)
    place.preflight()
    receipt = deliver(place)
    assert place.read().digest == KEY.digest()
    if version == 2:
        assert metadata_of(vault, mount)["custom_metadata"] == {f"mushu_{FIELD}": "key_1"}
    assert place.restore(receipt)
    assert place.read().digest is None
    deliver(place)
    assert place.remove(KEY.digest())
    # Without the leave to delete, a version without fields would lie there.
    assert fields_of(vault, mount) == ({"OTHER": "1"} if state == "there" else None)


@pytest.mark.fault
def test_every_way_in_that_is_set_up_is_taken_by_the_server(vault: RealVault) -> None:
    pattern = r"^    vault write (auth/\w+/(?:role|config)\S*) (.+)$"
    lines = dict.fromkeys(re.findall(pattern, _GUIDE.replace("\\\n", ""), re.MULTILINE))
    assert len(lines) == 6
    for path, words in lines:
        wanted = dict(word.split("=", 1) for word in words.split())
        if "kubernetes_ca_cert" in wanted:
            wanted["kubernetes_ca_cert"] = Path(certifi.where()).read_text()
        vault.enable(path.split("/")[1], path.split("/")[1])
        # Without more than its address, the server looks around: for the issuer's keys, or in the pod that it is in.
        if len(wanted) > 1:
            assert not vault.do("POST", path, wanted).get("warnings")


def test_the_service_can_read_its_key_and_do_no_more(vault: RealVault, kv2: str) -> None:
    deliver(destination(vault, f"{kv2}/apps/backend"))
    token = _token(vault, kv2, "backend.hcl")
    place = destination(vault, f"{kv2}/apps/backend", token=token)
    assert place.read().digest == KEY.digest()
    refused(place.preflight, "may not patch", kind=Denied)
