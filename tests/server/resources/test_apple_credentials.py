"""Provider tokens: valid for Apple at any moment, the same in every process, and never made too often."""

import base64
import json
from itertools import pairwise

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mushu.secret import Secret
from mushu.server.resources.apple_credentials import ApnsCredentials, ProviderTokens
from tests.conftest import TurnableClock

HOUR, TWENTY_MINUTES = 3_600, 1_200


def credentials(team_id: str = "TEAM123456", key_id: str = "KEY1234567") -> ApnsCredentials:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ApnsCredentials(team_id, key_id, Secret(pem.decode()))


def issued_at(token: str) -> int:
    claims = token.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(claims + "=="))["iat"])


@pytest.fixture
def tokens(clock: TurnableClock) -> ProviderTokens:
    return ProviderTokens(clock)


def test_a_token_is_never_too_old_nor_made_too_often(tokens: ProviderTokens, clock: TurnableClock) -> None:
    mine, seen = credentials(), list[str]()
    for _ in range(6 * 60):
        token = tokens.current(mine)
        assert 0 <= clock().timestamp() - issued_at(token) < HOUR
        if token not in seen:
            seen.append(token)
        clock.turn(minutes=1)
    times = [issued_at(token) for token in seen]
    assert all(later - earlier >= TWENTY_MINUTES for earlier, later in pairwise(times))


def test_every_process_makes_the_very_same(tokens: ProviderTokens, clock: TurnableClock) -> None:
    mine = credentials()
    first = tokens.current(mine)
    clock.turn(minutes=7)
    assert ProviderTokens(clock).current(mine) == first


def test_where_signatures_need_randomness_there_is_a_token_all_the_same(
    tokens: ProviderTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ec.ECDSA

    def old(algorithm: object, deterministic_signing: bool = False) -> object:
        if deterministic_signing:
            raise UnsupportedAlgorithm("as before OpenSSL 3.2")
        return real(algorithm)  # type: ignore[arg-type]

    monkeypatch.setattr(ec, "ECDSA", old)
    assert tokens.current(credentials()).count(".") == 2


@pytest.mark.parametrize(
    "other",
    [credentials(team_id="TEAMOTHER1"), credentials(key_id="KEYOTHER12"), credentials()],
    ids=["team", "id", "key"],
)
def test_other_credentials_have_another_token(tokens: ProviderTokens, other: ApnsCredentials) -> None:
    mine = credentials()
    assert tokens.current(mine) != tokens.current(other)
    assert tokens.current(mine) == tokens.current(mine)


def test_a_refused_token_is_renewed_once_for_all_that_were_sent_with_it(
    tokens: ProviderTokens, clock: TurnableClock
) -> None:
    clock.turn(minutes=5)
    mine = credentials()
    refused = tokens.current(mine)
    renewed = tokens.renewed(mine, refused)
    assert issued_at(renewed) == int(clock().timestamp())
    assert tokens.renewed(mine, refused) == tokens.current(mine) == renewed


def test_a_renewed_token_is_not_renewed_again_for_twenty_minutes(tokens: ProviderTokens, clock: TurnableClock) -> None:
    clock.turn(minutes=5)
    mine = credentials()
    renewed = tokens.renewed(mine, tokens.current(mine))
    clock.turn(minutes=19)
    assert tokens.renewed(mine, renewed) == renewed
    clock.turn(minutes=1)
    assert tokens.renewed(mine, renewed) != renewed


def test_a_clock_that_is_set_back_makes_no_token_of_the_future(tokens: ProviderTokens, clock: TurnableClock) -> None:
    mine = credentials()
    tokens.current(mine)
    clock.turn(hours=-3)
    assert 0 <= clock().timestamp() - issued_at(tokens.current(mine)) < HOUR


def test_only_so_many_are_remembered(tokens: ProviderTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.resources.apple_credentials._MOST_TOKENS", 2)
    for _ in range(5):
        tokens.current(credentials())
    assert len(tokens._known) == 2


def test_nothing_shows_a_token(tokens: ProviderTokens) -> None:
    token = tokens.current(credentials())
    assert token not in repr(tokens._known)
