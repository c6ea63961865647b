"""However many keys there are, no statement is about all of them, and no more of them is in memory than a page."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from hashlib import sha256
from itertools import count

import pytest
from sqlalchemy import event, insert

from mushu.destination import Holding
from mushu.server import answers
from mushu.server.audit import SYSTEM
from mushu.server.commands.printing import print_table
from mushu.server.core import context_for, db
from mushu.server.db import journal_path, reading, writing
from mushu.server.delivery.drift import DriftChecker, KeyFilter
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.hygiene import Hygiene
from mushu.server.keys import revocation_journal
from mushu.server.keys.models import ApiKey
from mushu.server.keys.selection import Selection, StateAt
from mushu.server.keys.states import State
from mushu.server.lifecycle.maintain import keep_house_by_key
from mushu.server.paging import in_pages
from tests.long import times
from tests.server.commands.conftest import Run
from tests.server.conftest import World
from tests.server.delivery.memory import peak

#: The larger of two numbers of keys; the other is a quarter of it.
MANY = times(2_000, 300_000)
#: A page of 500, twice, and what else a statement takes.
MOST_PARAMETERS = 1_100

pytestmark = [pytest.mark.fault, pytest.mark.unmeasured, pytest.mark.timeout(times(300, 3_600))]
_NUMBERS = count()


class Held:
    """A destination that holds nothing."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def read(self) -> Holding:
        return Holding(version="0", digest=None)


@pytest.fixture
def parameters(context: None) -> Iterator[list[int]]:
    """How many values each statement took."""
    seen: list[int] = []

    def note(_c: object, _cursor: object, _s: str, values: object, _x: object, many: bool) -> None:
        if not many:
            seen.append(len(values) if isinstance(values, tuple | dict) else 0)

    event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    event.remove(db.engine, "before_cursor_execute", note)


def fill(world: World, org_id: str, many: int, state: State) -> None:
    """Write keys, each of them at a destination."""
    now, numbers = world.clock(), [next(_NUMBERS) for _ in range(many)]
    keys = [
        {
            "id": f"key_{number:012}", "org_id": org_id, "name": f"key {number}", "scope_names": "read,write",
            "digest": sha256(str(number).encode()).hexdigest(), "last_four": "abcd", "environment": "live",
            "stored_state": state, "created_at": now + timedelta(seconds=number),
            "confirm_by": now if state is State.PENDING else None,
        }
        for number in numbers
    ]  # fmt: skip
    deliveries = [
        {
            "id": f"dlv_{number:012}", "key_id": f"key_{number:012}", "uri": f"held:{number}", "attempt_id": "att",
            "state": DeliveryState.VERIFIED, "expected_version": "0", "lease_until": now, "created_at": now,
            "cleanup_due": False, "on_client": False,
        }
        for number in numbers
    ]  # fmt: skip
    with writing(db.session):
        db.session.execute(insert(ApiKey), keys)
        if state is State.ACTIVE:
            db.session.execute(insert(Delivery), deliveries)
        else:
            for number in numbers[:: max(1, many // 3)]:
                revocation_journal.note(db.session, sha256(str(number).encode()).hexdigest())


def listed(world: World, org_id: str) -> Iterable[object]:
    now = world.clock()
    selection = Selection(name="key", state=StateAt(State.ACTIVE, now))
    return in_pages(db.session, lambda window: answers.key_page(db.session, now, org_id, selection, Hygiene(), window))


def checked(world: World, _: str) -> Iterable[object]:
    return DriftChecker(db.session, world.clock, Held).check(KeyFilter())  # type: ignore[arg-type]


def reconciled(_: World, __: str) -> Iterable[object]:
    return keep_house_by_key(context_for(SYSTEM))


def followed(world: World, _: str) -> Iterable[object]:
    path = journal_path(db.session)
    assert path is not None
    with path.open("a") as file:
        file.writelines(f"{sha256(str(number).encode()).hexdigest()}\n" for number in range(10**6, 10**6 + MANY))
    with reading(db.session):
        return iter(revocation_journal.to_follow(db.session)[0])


@pytest.mark.parametrize(
    ("act", "state", "share"),
    [
        (listed, State.ACTIVE, 1),
        (checked, State.ACTIVE, 4),
        (reconciled, State.PENDING, 8),
        (followed, State.PENDING, 8),
    ],
)
def test_the_memory_does_not_grow_with_them(
    world: World, parameters: list[int], act: Callable[[World, str], Iterable[object]], state: State, share: int
) -> None:
    org_id, peaks = world.org().id, []
    found: list[int] = []
    for many in (MANY // share // 4, MANY // share * 3 // 4):
        fill(world, org_id, many, state)
        parameters.clear()
        peaks.append(peak(lambda: found.append(sum(1 for _ in act(world, org_id)))))
        assert max(parameters) <= MOST_PARAMETERS
    assert found[-1] >= (MANY // share * 3 // 4 if act is not followed else 0)
    # 250 bytes for each: what a list of ids takes, and no row does.
    assert peaks[1] - peaks[0] < 1_000_000 + 250 * MANY // share, peaks


def test_a_table_and_a_list_are_whole(run: Run, acme: str, in_core: None, world: World) -> None:
    fill(world, acme, 1_100, State.ACTIVE)

    rows = run("keys", "list", "--org", "acme").stdout.splitlines()
    assert (len(rows), rows[0].split()) == (1_101, ["KEY_ID", "NAME", "SCOPES", "CREATED"])
    assert len({line.split()[0] for line in rows}) == 1_101
    assert len(run("keys", "list", "--org", "acme", "--json").json) == 1_100


def test_the_first_rows_of_a_table_do_not_wait_for_very_many(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[list[str]]:
        for number in range(700):
            assert number <= 100 or "row 99" in printed(), number
            yield [f"row {number}"]

    shown: list[str] = []

    def printed() -> str:
        shown.append(capsys.readouterr().out)
        return "".join(shown)

    print_table(["NAME"], rows())
    assert printed().split("\n") == ["NAME", *(f"row {number}" for number in range(700)), ""]
