"""Who is signed in."""

import pytest

from mushu.server.audit.service import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys.scopes import Scope
from mushu.server.users.service import create_user
from tests.server.conftest import api_key, bearer
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


class TestMe:
    def test_it_works(self, house: House) -> None:
        user = house.world.user("Ada@Example.com")
        assert answer(house.client.get("/users/me", headers=bearer(house.world.token(user)))) == {
            "user_id": user.id,
            "user_type": "user",
            "email": "ada@example.com",
            "email_verified": False,
            "name": None,
            "created_at": rfc3339(user.created_at),
        }

    def test_a_name_is_told(self, house: House) -> None:
        with writing(db.session):
            user = create_user(db.session, house.clock, SYSTEM, "grace@example.com", "Grace")
        assert answer(house.client.get("/users/me", headers=bearer(house.world.token(user))))["name"] == "Grace"

    def test_nothing_of_the_password_is_told(self, house: House) -> None:
        user = house.world.user(with_password=True)
        response = house.client.get("/users/me", headers=bearer(house.world.token(user)))
        assert "argon2" not in response.get_data(as_text=True)

    def test_two_users_each_see_themselves(self, house: House) -> None:
        for user in (house.world.user(), house.world.user()):
            assert answer(house.client.get("/users/me", headers=bearer(house.world.token(user))))["user_id"] == user.id

    def test_a_key_is_no_user(self, house: House, stage: Stage) -> None:
        _, key = house.world.key(stage.organization, *Scope)
        refusal(house.client.get("/users/me", headers=api_key(key)), 403, "user_required")

    @pytest.mark.parametrize("path", ["/users/usr_aaaaaaaaaaaa", "/users", "/sandbox/users/me"])
    def test_nobody_else_can_be_asked_about(self, house: House, stage: Stage, path: str) -> None:
        refusal(house.client.get(path, headers=stage.headers), 404, "not_found")
