"""Who is signed in."""

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.users.service import create_user
from tests.server.conftest import bearer
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

    @pytest.mark.parametrize("path", ["/users/usr_aaaaaaaaaaaa", "/users", "/sandbox/users/me"])
    def test_nobody_else_can_be_asked_about(self, house: House, stage: Stage, path: str) -> None:
        refusal(house.client.get(path, headers=stage.headers), 404, "not_found")
