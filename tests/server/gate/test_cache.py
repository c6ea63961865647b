"""What the gate remembers is never late: whoever ends a key, every process refuses it on the next request."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain, product
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
from flask.testing import FlaskClient

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.clock import utc_now
from mushu.server.config import Settings
from mushu.server.core import core_context, db, gate_reader_in
from mushu.server.db import writing
from mushu.server.errors import Forbidden, Unauthenticated
from mushu.server.gate.cache import StampedReads, is_whole
from mushu.server.gate.credential import Credential, read_headers
from mushu.server.gate.decision import admit_by, get_requirement
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.gate.principal import authenticate, identify_by
from mushu.server.keys import Scope
from mushu.testing.processes import fork, wait_for
from tests.long import SEED, times
from tests.server.commands.conftest import Run, run
from tests.server.conftest import World, bearer

__all__ = ["run"]
pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]

#: Asks all processes whether a key is good.
Ask = Callable[[str], list[bool]]


def are_good(plaintext: str) -> list[bool]:
    """Ask by the row that is remembered, and by what was made of it."""
    source = gate_reader_in(Environment.LIVE)
    return [
        proves(lambda: authenticate(source, utc_now, Credential(Secret(plaintext), is_key=True))),
        proves(lambda: identify_by(source, utc_now(), read_headers, None, plaintext)),
    ]


def answer(question: str) -> list[bool]:
    """Tell whether a key is good, or where the question begins with the name of a policy, whether it passes that."""
    policy, _, plaintext = question.rpartition(" ")
    return [passes(policy, plaintext)] if policy else are_good(plaintext)


def passes(policy: str, plaintext: str) -> bool:
    source = gate_reader_in(Environment.LIVE)
    try:
        admit_by(source, get_requirement(source, policy), identify_by(source, utc_now(), read_headers, None, plaintext))
    except Forbidden:
        return False
    return True


def proves(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Unauthenticated:
        return False
    return True


def answer_all(settings: Settings, questions: Connection) -> int:
    with core_context(lambda: settings):
        while plaintext := questions.recv():
            questions.send(answer(plaintext))
    return 0


@pytest.fixture
def ask(settings: Settings) -> Iterator[Ask]:
    """Three processes beside this one, which were made before it opened the database."""
    pipes = [Pipe() for _ in range(3)]
    workers = [fork(lambda theirs=theirs: answer_all(settings, theirs)) for _, theirs in pipes]  # type: ignore[misc]

    def ask(plaintext: str) -> list[bool]:
        for ours, _ in pipes:
            ours.send(plaintext)
        return [*chain.from_iterable(ours.recv() for ours, _ in pipes), *answer(plaintext)]

    yield ask
    for ours, _ in pipes:
        ours.send("")
    assert [wait_for(worker) for worker in workers] == [0, 0, 0]


def test_a_key_that_was_ended_in_any_way_is_refused_by_four_processes(
    ask: Ask, settings: Settings, client: FlaskClient, world: World, run: Run
) -> None:
    org = world.org()
    headers = bearer(world.token(world.owner_of(org)))
    late = 0
    with closing(sqlite3.connect(settings.instance_path / "mushu.sqlite3", isolation_level=None)) as shell:
        for number in range(times(300, 10_000)):
            key, plaintext = world.key(org)
            key_id = key.id
            assert all(ask(plaintext) + ask(plaintext))
            if number % 50 == 0:
                assert run("keys", "delete", key_id, "--yes").code == 0
            elif number % 2:
                assert client.delete(f"/orgs/{org.id}/api-keys/{key_id}", headers=headers).status_code == 200
            else:
                shell.execute("UPDATE api_keys SET state = 'revoked' WHERE id = ?", [key_id])
            late += sum(ask(plaintext))
    assert late == 0


def test_what_is_remembered_is_what_is_stored_after_a_writer_was_killed(
    ask: Ask, settings: Settings, world: World
) -> None:
    org, path = world.org(), settings.instance_path / "mushu.sqlite3"
    keys = {key.id: plaintext for key, plaintext in (world.key(org) for _ in range(4))}
    chance = random.Random(SEED)

    def write() -> int:
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            while True:
                for state in ("disabled", "active"):
                    writer.execute("UPDATE api_keys SET state = ? WHERE id = ?", [state, chance.choice([*keys])])

    for _ in range(times(15, 300)):
        writer = fork(write)
        until = time.monotonic() + chance.uniform(0, 0.03)
        while time.monotonic() < until:
            ask(chance.choice([*keys.values()]))
        os.kill(writer, signal.SIGKILL)
        assert wait_for(writer) == -signal.SIGKILL
        with closing(sqlite3.connect(path)) as shell:
            states = dict(shell.execute("SELECT id, state FROM api_keys"))
        for key_id, plaintext in keys.items():
            assert ask(plaintext) == [states[key_id] == "active"] * 8


def test_policies_that_alternate_on_one_remembered_key_never_mix(ask: Ask, world: World) -> None:
    org, elsewhere = world.org(), world.org()
    asked = {
        "reads": PolicyRequest(name="reads", org_id=org.id, scope=Scope.READ),
        "admins": PolicyRequest(name="admins", org_id=org.id, scope=Scope.ADMIN),
        "tests": PolicyRequest(name="tests", org_id=org.id, scope=Scope.READ, environment=Environment.TEST),
        "others": PolicyRequest(name="others", org_id=elsewhere.id, scope=Scope.READ),
    }
    with writing(db.session):
        for policy in asked.values():
            add_policy(db.session, world.clock, SYSTEM, policy)
    passing = {
        world.key(org)[1]: {"reads"},
        world.key(org, *Scope)[1]: {"reads", "admins"},
        world.key(org, environment=Environment.TEST)[1]: {"tests"},
        world.key(elsewhere)[1]: {"others"},
    }
    for _ in range(times(20, 1_000)):
        for text, name in product(passing, asked):
            assert ask(f"{name} {text}") == [name in passing[text]] * 4


def test_it_remembers_until_the_next_commit_no_miss_and_a_few_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(_: object, text: str, *__: object) -> list[tuple[int]]:
        asked.append(text)
        if text == "abc":
            world.user()
        return [(1,)] * len(text)

    monkeypatch.setattr("mushu.server.read_connections.ReadConnections.fetch", fetch)
    found = StampedReads(db.engine)
    for text in ("ab", "ab", "", ""):
        assert len(found.fetch(text, [])) == len(text)
    assert asked == ["ab", "", ""]
    world.user()
    found.fetch("ab", [])
    assert asked == ["ab", "", "", "ab"]
    found.fetch("abc", [])
    assert ("abc",) not in found._remembered[2], "something was committed while it was read"
    monkeypatch.setattr("mushu.server.gate.cache.MOST", 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        found.fetch(text, [])
    assert asked[5:] == ["a", "b", "c", "b"], "what was asked for longest ago makes room"
    db.engine.dispose()


def test_where_the_header_is_not_what_it_should_be_each_request_reads(world: World, settings: Settings) -> None:
    found = StampedReads(db.engine)
    whole = found._read(found._opened())
    assert whole is not None
    assert is_whole(whole)
    assert not is_whole(whole[:95] + bytes([whole[95] ^ 1])), "it is being written"
    assert not is_whole(b"\0" * 96), "it is not set up"
    (settings.instance_path / "mushu.sqlite3-shm").unlink()
    assert found._stamp is not None
    found._stamp._look_at = 0
    assert found._read(found._stamp) is None
    assert found._stamp is None, "what was open to it is closed"
    db.engine.dispose()
