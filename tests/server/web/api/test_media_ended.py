"""Signed addresses of media, once who was given them may not do so any more."""

from collections.abc import Callable

import pytest

from mushu.server.keys import Scope
from mushu.server.orgs.models import Role
from tests.server.conftest import api_key, bearer
from tests.server.web.asking import answer, execute, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

FILE = b"Hello"


def path_of(house: House, url: str) -> str:
    return url.removeprefix(house.world.core.settings.base_url)


def announce(house: House, headers: dict[str, str], org_id: str) -> tuple[str, str]:
    body = {"org_id": org_id, "filename": "a.txt", "content_type": "text/plain", "size_bytes": len(FILE)}
    made = answer(house.client.post("/media/upload-url", json=body, headers=headers))
    return made["media_id"], path_of(house, made["upload_url"])


def by_key(house: House, stage: Stage) -> tuple[dict[str, str], str]:
    key, text = house.world.key(stage.organization, Scope.READ, Scope.WRITE)
    return api_key(text), key.id


def by_member(house: House, stage: Stage) -> tuple[dict[str, str], str]:
    member = house.world.member(stage.organization, Role.MEMBER)
    return bearer(house.world.token(member)), member.id


_ENDS: dict[str, tuple[Callable[[House, Stage], tuple[dict[str, str], str]], str]] = {
    "key deleted": (by_key, "UPDATE api_keys SET state = 'revoked' WHERE id = :id"),
    "key expired": (by_key, "UPDATE api_keys SET expires_at = created_at WHERE id = :id"),
    "member removed": (by_member, "DELETE FROM memberships WHERE user_id = :id"),
    "user disabled": (by_member, "UPDATE users SET disabled_at = created_at WHERE id = :id"),
}


@pytest.mark.fault
@pytest.mark.parametrize("how", _ENDS)
def test_a_signed_address_ends_with_who_was_given_it(house: House, stage: Stage, how: str) -> None:
    make, statement = _ENDS[how]
    headers, issuer_id = make(house, stage)
    media_id, upload = announce(house, headers, stage.org)
    _, unused = announce(house, headers, stage.org)
    put = {"data": FILE, "content_type": "text/plain"}
    assert house.client.put(upload, **put).status_code == 200
    confirmed = answer(house.client.post(f"/media/{media_id}/confirm", headers=headers))
    download = path_of(house, confirmed["url"])
    assert house.client.get(download).data == FILE

    execute(statement, id=issuer_id)

    refusal(house.client.put(unused, **put), 403, "link_not_valid")
    refusal(house.client.get(download), 403, "link_not_valid")
    again = answer(house.client.get(f"/media/{media_id}/url", headers=stage.headers))
    assert house.client.get(path_of(house, again["url"])).data == FILE, "the owner's own address works"


def test_a_signed_address_names_who_was_given_it_and_no_other(house: House, stage: Stage) -> None:
    headers, key_id = by_key(house, stage)
    _, upload = announce(house, headers, stage.org)
    assert f"by={key_id}" in upload
    other = upload.replace(key_id, stage.owner.id)
    refusal(house.client.put(other, data=FILE, content_type="text/plain"), 403, "link_not_valid")


def test_a_signed_address_ends_with_its_organization(house: House, stage: Stage) -> None:
    _, upload = announce(house, stage.headers, stage.org)
    answer(house.client.delete(f"/orgs/{stage.org}", headers=stage.headers))
    refusal(house.client.put(upload, data=FILE, content_type="text/plain"), 403, "link_not_valid")
