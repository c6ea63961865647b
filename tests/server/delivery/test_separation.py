"""One place, one environment, whatever way a key goes there: by a name, by a URI, by force, or at the same moment."""

import pytest

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server import destinations as service
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.db import writing
from mushu.server.destinations import DestinationRequest
from mushu.server.errors import DestinationHeld
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms
from mushu.server.sealing.ring import SealingKeys
from tests.server.delivery.conftest import Post
from tests.server.delivery.shelf import Shelf
from tests.server.verbs import issue_to, succeed

pytestmark = pytest.mark.database

A = "fake:a"
LIVE, TEST = Environment.LIVE, Environment.TEST


def deliver(post: Post, environment: Environment, *, force: bool = False) -> ApiKey:
    request = KeyRequest(org_id=post.org_id, name="k", environment=environment)
    return issue_to(post.context(), request, [A], force=force)[0]


@pytest.fixture
def sealing(settings: Settings) -> SealingKeys:
    settings.instance_path.mkdir(exist_ok=True)
    return SealingKeys(settings.sealing_keys_path)


def name_live(post: Post, sealing: SealingKeys) -> None:
    with writing(post.session):
        service.add(
            post.session, post.clock, SYSTEM, sealing, DestinationRequest(post.org_id, "a", A, {"token": Secret("t")})
        )


@pytest.mark.fault
@pytest.mark.parametrize("force", [False, True])
def test_a_live_destination_takes_no_test_key_by_its_uri_and_is_not_even_read(
    post: Post, shelf: Shelf, sealing: SealingKeys, force: bool
) -> None:
    name_live(post, sealing)
    with pytest.raises(DestinationHeld, match="destination of live keys") as caught:
        deliver(post, TEST, force=force)
    assert not caught.value.overwritable
    assert post.all_keys() == []
    assert [call for call in shelf.calls if not call.startswith("open")] == []


@pytest.mark.fault
@pytest.mark.parametrize("successor", [False, True])
def test_a_name_that_is_given_meanwhile_is_seen_before_a_key_or_its_successor_is_minted(
    post: Post, shelf: Shelf, sealing: SealingKeys, successor: bool
) -> None:
    def name_it(_: str, act: object) -> object:
        name_live(post.another(), sealing)
        return act()  # type: ignore[operator]

    request = KeyRequest(org_id=post.org_id, name="k", environment=TEST)
    old = issue_to(post.context(), request, ["fake:b"])[0]
    shelf.plan("preflight fake:a", name_it)
    with pytest.raises(DestinationHeld):
        if successor:
            succeed(post.context(), old.id, Terms(), [A])
        else:
            deliver(post, TEST)
    assert [key.id for key in post.all_keys()] == [old.id]
    assert shelf.values.keys() == {"fake:b"}


@pytest.mark.fault
@pytest.mark.parametrize(("there", "coming"), [(LIVE, TEST), (TEST, LIVE)])
def test_a_living_key_of_the_other_environment_is_not_overwritten_by_force(
    post: Post, shelf: Shelf, there: Environment, coming: Environment
) -> None:
    key = deliver(post, there)
    before = shelf.values[A]
    with pytest.raises(DestinationHeld, match=f"{key.id}, a {there} key") as caught:
        deliver(post, coming, force=True)
    assert not caught.value.overwritable, "no way out is told that does not work"
    assert shelf.values[A] == before
    assert [one.id for one in post.all_keys()] == [key.id]


@pytest.mark.fault
@pytest.mark.parametrize("copied", [False, True])
def test_nor_the_place_where_the_ledger_says_that_it_lies_nor_where_it_was_copied_by_hand(
    post: Post, shelf: Shelf, copied: bool
) -> None:
    """Somebody changed the value by hand; the place is production's all the same."""
    issue_to(post.context(), KeyRequest(org_id=post.org_id, name="k"), ["fake:b" if copied else A])
    shelf.values[A] = there = shelf.values["fake:b"] if copied else "by hand"
    with pytest.raises(DestinationHeld):
        deliver(post, TEST, force=True)
    assert shelf.values[A] == there


def test_a_place_is_free_for_the_other_once_the_key_is_deleted(post: Post, shelf: Shelf) -> None:
    post.delete(deliver(post, LIVE).id)
    deliver(post, TEST)
    assert shelf.values[A].startswith("msk_test_")


@pytest.mark.fault
@pytest.mark.parametrize(("there", "named"), [(LIVE, TEST), (TEST, LIVE)])
def test_a_place_with_a_key_is_named_for_its_environment_only(
    post: Post, sealing: SealingKeys, there: Environment, named: Environment
) -> None:
    from mushu.server.delivery.named_destinations import add_named

    key = deliver(post, there)
    for environment in (named, there):
        place = DestinationRequest(post.org_id, "a", A, environment=environment)
        with writing(post.session):
            if environment is there:
                assert add_named(post.session, post.clock, SYSTEM, sealing, place).uri == A
                continue
            with pytest.raises(DestinationHeld, match=f"{key.id}.*--env {there}"):
                add_named(post.session, post.clock, SYSTEM, sealing, place)
