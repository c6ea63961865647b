"""Signing in and out."""

from datetime import timedelta

import pytest
from werkzeug.test import TestResponse

from mushu.keyformat import Prefix, parse
from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.users.models import User
from mushu.server.users.passwords import Passwords
from mushu.server.users.service import disable_user, set_password
from tests.server.conftest import bearer
from tests.server.web.asking import all_rows, answer, execute, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


@pytest.fixture
def user(house: House) -> User:
    house.clock.turn(hours=25)  # what other tests did wrong lies a day back, and slows nobody down here
    return house.world.user(with_password=True)


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The hashes that passwords are compared with, one for each verification."""
    seen: list[str | None] = []
    verify = Passwords.verify

    def watched(self: Passwords, known_hash: str | None, password: Secret) -> bool:
        seen.append(known_hash)
        return verify(self, known_hash, password)

    monkeypatch.setattr(Passwords, "verify", watched)
    return seen


def change(house: House, user: User, password: str) -> None:
    hashed = house.world.core.passwords.hash(Secret(password))
    with writing(db.session):
        set_password(db.session, house.clock, SYSTEM, db.session.merge(user), hashed)


def shut_out(house: House, user: User) -> None:
    with writing(db.session):
        disable_user(db.session, house.clock, SYSTEM, db.session.merge(user))


def login(house: House, user: User, **more: str) -> TestResponse:
    return house.client.post("/auth/login", json={"email": user.email, "password": house.world.password} | more)


class TestLogin:
    def test_it_works_for_exactly_twelve_hours(self, house: House, user: User) -> None:
        signed_in = answer(login(house, user))
        assert list(signed_in) == ["access_token", "token_type", "expires_in", "expires_at", "user"]
        assert parse(signed_in["access_token"]) is Prefix.CLI_TOKEN
        assert signed_in["token_type"] == "Bearer"
        assert signed_in["expires_in"] == 43_200
        assert signed_in["expires_at"] == rfc3339(house.clock() + timedelta(hours=12))
        assert signed_in["user"] == {"user_id": user.id, "email": user.email}
        headers = bearer(signed_in["access_token"])
        house.clock.turn(hours=12, microseconds=-1)
        assert house.client.get("/users/me", headers=headers).status_code == 200
        house.clock.turn(microseconds=1)
        refusal(house.client.get("/users/me", headers=headers), 401, "expired_credential")

    def test_the_case_of_the_address_and_a_credential_beside_it_do_not_matter(self, house: House, user: User) -> None:
        body = {"email": f" {user.email.upper()} ", "password": house.world.password}
        signed_in = answer(house.client.post("/auth/login", json=body, headers={"Authorization": "Basic nonsense"}))
        assert signed_in["user"]["user_id"] == user.id

    def test_every_refusal_is_the_same_to_the_byte_and_costs_one_verification(
        self, house: House, user: User, verifications: list[str | None]
    ) -> None:
        without, disabled = house.world.user(), house.world.user(with_password=True)
        shut_out(house, disabled)
        changed = house.world.user(with_password=True)
        change(house, changed, "another long passphrase")
        good = house.world.password
        attempts = {
            "unknown account": {"email": "nobody@example.com", "password": good},
            "no address at all": {"email": "not an address", "password": good},
            "empty address": {"email": "", "password": good},
            "wrong password": {"email": user.email, "password": "wrong"},
            "empty password": {"email": user.email, "password": ""},
            "cut password": {"email": user.email, "password": good[:-1]},
            "password with more": {"email": user.email, "password": f"{good} "},
            "password in capitals": {"email": user.email, "password": good.upper()},
            "no password set": {"email": without.email, "password": good},
            "disabled user": {"email": disabled.email, "password": good},
            "password of before": {"email": changed.email, "password": good},
        }
        house.client.post("/auth/login", json=attempts["unknown account"])
        tokens, answers = all_rows()["cli_tokens"], set()
        for name, body in attempts.items():
            del verifications[:]
            response = house.client.post("/auth/login", json=body)
            refusal(response, 401, "login_refused")
            response.headers.pop("X-Request-Id")
            answers.add((response.status, response.data, str(response.headers)))
            assert len(verifications) == 1, name
        assert len(answers) == 1
        assert all_rows()["cli_tokens"] == tokens

    @pytest.mark.parametrize("column", ["password_hash = 'another'", "disabled_at = created_at"])
    def test_what_changes_while_the_password_is_checked_counts(
        self, house: House, user: User, monkeypatch: pytest.MonkeyPatch, column: str
    ) -> None:
        verify = Passwords.verify

        def slow(self: Passwords, known_hash: str | None, password: Secret) -> bool:
            # Through the engine, because another request has another session.
            execute(f"UPDATE users SET {column} WHERE id = :id", id=user.id)
            return verify(self, known_hash, password)

        monkeypatch.setattr(Passwords, "verify", slow)
        detail = refusal(login(house, user), 401, "login_refused")["detail"]
        assert detail == "The account changed while you signed in. Try again."

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            ({}, "email is required; password is required."),
            ({"email": "a@b"}, "password is required."),
            ({"email": None, "password": "x"}, "email must be a string."),
            ({"email": "a@b", "password": 12345}, "password must be a string."),
            ({"email": ["a@b"], "password": "x"}, "email must be a string."),
            ({"email": "a@b", "password": "x", "otp": "1"}, "otp is not a known field."),
            ({"email": "a" * 1001, "password": "x"}, "email is too long."),
            ({"email": "a@b", "password": "x" * 1025}, "password is too long."),
        ],
    )
    def test_another_body_is_refused_before_any_password_is_checked(
        self, house: House, verifications: list[str | None], body: dict[str, object], sentence: str
    ) -> None:
        assert refusal(house.client.post("/auth/login", json=body), 422, "invalid_input")["detail"] == sentence
        assert verifications == []

    @pytest.mark.parametrize("email", ["%", "_", "' OR '1'='1", "a@b\x00", "*@*"])
    def test_an_address_is_compared_and_never_interpreted(self, house: House, user: User, email: str) -> None:
        assert login(house, user, email=email).status_code in (401, 422)

    def test_neither_the_password_nor_the_token_is_logged_or_kept(
        self, house: House, user: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        token = answer(login(house, user))["access_token"]
        login(house, user, password="wrong canary")
        assert not any(text in caplog.text for text in (house.world.password, "wrong canary", token))
        assert token[4:26] not in str(all_rows())


def test_logout_ends_this_token_and_no_other_whatever_published_clients_send(house: House, stage: Stage) -> None:
    other = bearer(house.world.token(stage.owner))
    assert answer(house.client.post("/auth/logout", headers=stage.headers)) == {"logged_out": True}
    refusal(house.client.get("/users/me", headers=stage.headers), 401, "deleted_credential")
    assert house.client.get("/users/me", headers=other).status_code == 200
    body = {"access_token": "x", "refresh_token": "y"}
    assert house.client.post("/auth/logout", json=body, headers=other).status_code == 200


def test_validate(house: House, stage: Stage) -> None:
    assert answer(house.client.get("/auth/validate", headers=stage.headers)) == {
        "valid": True,
        "user_id": stage.owner.id,
        "user_type": "user",
        "email": stage.owner.email,
    }
