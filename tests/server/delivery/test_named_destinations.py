"""Names and the ledger: what a name stands for, when it may go, and what is kept to clean up behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from mushu.destination import DestinationError
from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server import destinations as service
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.db import reading, writing
from mushu.server.delivery import ledger, named_destinations
from mushu.server.delivery.models import LATEST_ARRIVAL
from mushu.server.destinations import DestinationRequest, DestinationRow
from mushu.server.environments import set_environment
from mushu.server.errors import DestinationHeld, DestinationNotFound, Invalid
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE, RETIRE
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.orgs.service import create_org, get_org
from mushu.server.sealing import replace_keys
from mushu.server.sealing.ring import SealingKeys
from tests.server.delivery.conftest import LEASE, LONG_AFTER, Post
from tests.server.delivery.shelf import Crash, Shelf, crash, fail

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

TOKEN = "hunter2"


@dataclass
class Named:
    """The post office with names, and the keys that seal."""

    post: Post
    keys: SealingKeys

    def __post_init__(self) -> None:
        set_environment(self.post.session, Environment.LIVE)

    def add(self, name: str = "a", org_id: str = "", **settings: str) -> DestinationRow:
        place = DestinationRequest(
            org_id or self.post.org_id, name, f"fake:{name}", {one: Secret(text) for one, text in settings.items()}
        )
        with writing(self.post.session):
            return service.add(self.post.session, self.post.clock, SYSTEM, self.keys, place)

    def remove(self, name: str = "a") -> None:
        with writing(self.post.session):
            named_destinations.remove_named(self.post.session, self.post.clock, SYSTEM, self.post.org_id, name)

    def settings(self, name: str = "a") -> dict[str, str]:
        return dict(named_destinations.settings_for(self.post.session, self.keys, f"fake:{name}"))

    def forget(self) -> list[str | None]:
        """Forget what is not needed, and return what is still sealed."""
        with writing(self.post.session):
            named_destinations.forget_settings(self.post.session, self.post.clock)
        return self.sealed()

    def sealed(self) -> list[str | None]:
        with reading(self.post.session):
            rows = self.post.session.query(DestinationRow).populate_existing().all()
            return [row.id for row in rows if row.sealed_settings is not None]

    def uris(self, *names: str, org_id: str = "") -> Sequence[str]:
        with reading(self.post.session):
            return named_destinations.uris_of(self.post.session, org_id or self.post.org_id, names)

    def other_org(self) -> str:
        with writing(self.post.session):
            owner = get_org(self.post.session, self.post.org_id).created_by
            return create_org(self.post.session, self.post.clock, SYSTEM, "other", owner).id


@pytest.fixture
def names(post: Post, settings: Settings) -> Named:
    settings.instance_path.mkdir(exist_ok=True)
    return Named(post, SealingKeys(settings.sealing_keys_path))


class TestNames:
    def test_stand_for_uris_in_their_order_and_the_first_that_does_not_is_named(self, names: Named) -> None:
        for name in "abd":
            names.add(name)
        assert names.uris("d", "a") == ["fake:d", "fake:a"]
        with pytest.raises(DestinationNotFound, match="'c'") as caught:
            names.uris("a", "c", "e")
        assert caught.value.field == "deliver_to"
        for given in ((), ("a", "a"), ("a", "b", "a")):
            with pytest.raises(Invalid, match="none twice"):
                names.uris(*given)
        for name in ("fake:a", "env:/etc/passwd#KEY", "%", "a' OR '1'='1", "A", "a "):
            with pytest.raises(DestinationNotFound):
                names.uris(name)

    def test_those_of_another_organization_and_those_removed_stand_for_nothing(self, names: Named) -> None:
        names.add("a")
        other = names.other_org()
        with pytest.raises(DestinationNotFound):
            names.uris("a", org_id=other)
        names.remove("a")
        with pytest.raises(DestinationNotFound):
            names.uris("a")

    def test_are_found_by_uri(self, names: Named, post: Post) -> None:
        names.add("a")
        names.add("b", names.other_org())
        names.add("c")
        names.remove("c")
        uris = ["fake:a", "fake:b", "fake:c", "fake:d"]
        with reading(post.session):
            assert named_destinations.names_of(post.session, uris) == {"fake:a": "a", "fake:b": "b"}
            assert named_destinations.names_of(post.session, uris, post.org_id) == {"fake:a": "a"}
            assert named_destinations.names_of(post.session, []) == {}


class TestRemoving:
    @pytest.mark.parametrize("state", ["active", "disabled", "retiring", "pending"])
    def test_one_where_a_living_key_lies_stays(self, names: Named, post: Post, shelf: Shelf, state: str) -> None:
        names.add()
        if state == "pending":
            shelf.plan("read fake:a", lambda _, act: act(), crash)
            with pytest.raises(Crash):
                post.deliver("fake:a")
            key_id = post.only_key().id
        else:
            key_id = post.deliver("fake:a").id
        if state in ("disabled", "retiring"):
            with writing(post.session):
                change_state(post.session, post.clock, SYSTEM, key_id, DISABLE if state == "disabled" else RETIRE)
        assert post.state(key_id) == state
        with pytest.raises(DestinationHeld, match=rf"{key_id} \(backend\).*flask keys delete"):
            names.remove()
        assert names.uris("a") == ["fake:a"]
        post.delete(key_id)
        names.remove()

    def test_many_keys_are_not_all_listed(self, names: Named, post: Post) -> None:
        names.add()
        for _ in range(7):
            post.deliver("fake:a", force=True)
        with pytest.raises(DestinationHeld, match="and 2 more"):
            names.remove()

    def test_a_key_of_another_organization_counts_too(self, names: Named, post: Post) -> None:
        names.add()
        mine, post.org_id = post.org_id, names.other_org()
        post.deliver("fake:a")
        post.org_id = mine
        with pytest.raises(DestinationHeld):
            names.remove()

    def test_a_key_that_another_has_replaced_there_does_not(self, names: Named, post: Post) -> None:
        names.add()
        key = post.deliver("fake:a")
        with writing(post.session):
            ledger.replaced(post.session, key.id, [("fake:a", "")])
        names.remove()


class TestSettings:
    def test_are_those_of_the_place_and_never_erased_while_it_has_its_name(self, names: Named, post: Post) -> None:
        row = names.add("a", token=TOKEN)
        names.add("b")
        assert names.settings("a") == {"token": TOKEN}
        assert names.settings("b") == names.settings("c") == {}
        post.clock.turn(days=3_650)
        assert names.forget() == [row.id]

    def test_are_not_used_without_the_name_and_erased_in_a_moment_where_nothing_was_ever_delivered(
        self, names: Named, post: Post
    ) -> None:
        row = names.add(token=TOKEN)
        names.remove()
        assert names.settings() == {}
        assert names.forget() == [row.id]
        post.clock.turn(seconds=LATEST_ARRIVAL.total_seconds())
        assert names.forget() == []

    def test_are_kept_for_a_dead_value_that_could_not_be_taken_away(
        self, names: Named, post: Post, shelf: Shelf
    ) -> None:
        row = names.add(token=TOKEN)
        key = post.deliver("fake:a")
        shelf.unreachable.add("fake:a")
        post.delete(key.id)
        names.remove()
        post.clock.turn(days=30)
        assert names.forget() == [row.id]
        assert names.settings() == {"token": TOKEN}
        shelf.unreachable.clear()
        assert post.verdicts() == ["cleaned_up"]
        assert names.settings() == {}
        assert names.forget() == [], "and then they are erased"

    def test_of_whoever_has_the_place_now_count(self, names: Named, post: Post, shelf: Shelf) -> None:
        names.add(token=TOKEN)
        key = post.deliver("fake:a")
        shelf.unreachable.add("fake:a")
        post.delete(key.id)
        names.remove()
        names.add(token="hunter3")
        assert names.settings() == {"token": "hunter3"}

    def test_are_not_erased_under_a_delivery_that_began_just_before(
        self, names: Named, post: Post, shelf: Shelf
    ) -> None:
        """The destination was opened, its name goes, and only then the delivery is in the ledger, and is cut off."""
        names.add(token=TOKEN)

        def go(_: str, act: object) -> object:
            another = Named(post.another(), names.keys)
            another.remove()
            another.forget()
            return act()  # type: ignore[operator]

        shelf.plan("preflight fake:a", go)
        shelf.plan("write fake:a", crash)
        with pytest.raises(Crash):
            post.deliver("fake:a")
        assert names.settings() == {"token": TOKEN}
        post.clock.turn(seconds=LEASE.total_seconds())
        assert post.verdicts() == ["failed"]
        post.clock.turn(seconds=LONG_AFTER.total_seconds())
        post.reconcile()
        assert names.forget() == []

    @pytest.mark.parametrize("damage", ["missing", "cut", "another"])
    def test_that_cannot_be_opened_are_an_error_that_may_pass_and_tells_the_way_out(
        self, names: Named, damage: str
    ) -> None:
        names.add(token=TOKEN)
        ring = names.keys.path.read_bytes()
        if damage == "missing":
            names.keys.path.unlink()
        elif damage == "cut":
            names.keys.path.write_bytes(ring[:20])
        else:
            names.keys.replace(names.keys.load().with_new_key().newest_only())
        with pytest.raises(DestinationError, match=r"Restore .*docs/sealing\.md") as caught:
            names.settings()
        assert not caught.value.permanent
        assert caught.value.__context__ is None
        names.keys.path.write_bytes(ring)
        assert names.settings() == {"token": TOKEN}

    def test_whose_keys_are_rotated_at_that_very_moment_are_opened_all_the_same(
        self, names: Named, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The row is read with the old seal; when the keys are read, the new one is alone."""
        names.add(token=TOKEN)
        load, rotated = SealingKeys.load, list[bool]()

        def load_late(keys: SealingKeys) -> object:
            if not rotated:
                rotated.append(True)
                another = names.post.another()
                replace_keys(another.session, another.clock, SYSTEM, keys)
            return load(keys)

        monkeypatch.setattr(SealingKeys, "load", load_late)
        assert names.settings() == {"token": TOKEN}
        assert rotated


class TestADeletedOrganization:
    def test_leaves_its_places_to_others_and_to_housekeeping_to_erase_what_is_sealed(
        self, names: Named, post: Post
    ) -> None:
        row, other = names.add(token=TOKEN), names.other_org()
        key = post.deliver("fake:a")
        assert [found.verdict for found in post.delete_org()] == ["cleaned_up"]
        assert (post.state(key.id), names.settings()) == ("revoked", {})
        assert names.add("a", other).org_id == other
        keep_house(post.context())
        assert names.sealed() == [row.id], "not at once: a delivery may have begun just before"
        post.clock.turn(seconds=LATEST_ARRIVAL.total_seconds())
        keep_house(post.context())
        assert names.sealed() == []

    def test_and_what_is_needed_to_clean_up_there_stays_until_it_is_done(
        self, names: Named, post: Post, shelf: Shelf
    ) -> None:
        names.add(token=TOKEN)
        post.deliver("fake:a")
        shelf.plan("remove fake:a", fail)
        assert [found.verdict for found in post.delete_org()] == ["unreachable"]
        assert names.settings() == {"token": TOKEN}
        post.clock.turn(seconds=LONG_AFTER.total_seconds())
        assert post.verdicts() == ["cleaned_up"]
        assert names.settings() == {}
        assert names.forget() == []
