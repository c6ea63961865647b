"""Argon2id: parameters, bounds, and the same work whether or not there is an account."""

import os
import sys
import threading
import time
from contextlib import ExitStack
from typing import Literal

import pytest
from argon2 import PasswordHasher

from mushu.secret import Secret
from mushu.server.config import Settings
from mushu.server.core import db
from mushu.server.errors import Busy, Invalid, LoginRefused
from mushu.server.users.known_clients import SignInSource
from mushu.server.users.login import LoginAttempt, sign_in
from mushu.server.users.passwords import MAX_LENGTH, MIN_LENGTH, Passwords
from tests.server.conftest import World

pytestmark = pytest.mark.database


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(time_cost=1, memory_kib=8, concurrency=2)


def test_a_hash_verifies_its_password_and_no_other(passwords: Passwords) -> None:
    known = passwords.hash(Secret("correct horse battery"))
    assert passwords.verify(known, Secret("correct horse battery"))
    assert not passwords.verify(known, Secret("correct horse batterY"))


def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert passwords.hash(Secret("correct horse battery")) != passwords.hash(Secret("correct horse battery"))


def test_the_defaults_are_those_that_owasp_names(tmp_path: object) -> None:
    settings = Settings(instance_path=tmp_path)  # type: ignore[arg-type]
    made = Passwords(
        time_cost=settings.argon2_time_cost,
        memory_kib=settings.argon2_memory_kib,
        concurrency=settings.argon2_concurrency,
    ).hash(Secret("correct horse battery"))
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("length", [0, MIN_LENGTH - 1, MAX_LENGTH + 1])
def test_too_short_and_too_long_are_refused(passwords: Passwords, length: int) -> None:
    with pytest.raises(Invalid, match=str(MIN_LENGTH)):
        passwords.hash(Secret("x" * length))


@pytest.mark.parametrize("known", [None, "rubbish", "$argon2id$v=19$m=8,t=1,p=1$broken"])
def test_without_a_usable_hash_the_answer_is_no(passwords: Passwords, known: str | None) -> None:
    assert not passwords.verify(known, Secret("no account has this password"))


def test_a_missing_account_costs_the_same_one_verification(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = passwords.hash(Secret("correct horse battery"))
    passwords.verify(None, Secret("x"))  # the decoy is made once
    calls: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            calls.append(str(hash))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    passwords.verify(known, Secret("wrong"))
    passwords.verify(None, Secret("wrong"))
    assert len(calls) == 2
    parameters = {call.rsplit("$", 2)[0] for call in calls}
    assert len(parameters) == 1, "both hashes must have the same parameters, or their times differ"


def test_no_more_than_a_few_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(time_cost=1, memory_kib=8, concurrency=2)
    lock, running, most = threading.Lock(), 0, 0

    class Slow(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return "hash"

    monkeypatch.setattr(passwords, "_hasher", Slow())
    threads = [threading.Thread(target=passwords.hash, args=(Secret("x" * MIN_LENGTH),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


@pytest.mark.fault
def test_who_finds_too_many_before_them_is_sent_away_and_not_counted(world: World) -> None:
    passwords = Passwords(time_cost=1, memory_kib=8, concurrency=1)
    attempt = LoginAttempt("nobody@example.com", Secret("not a password"), SignInSource(None))
    with ExitStack() as turns:
        for _ in range(8):
            turns.enter_context(passwords.turn())
        for _ in range(20):
            with pytest.raises(Busy):
                sign_in(db.session, world.clock, passwords, attempt, lambda user: user)
    with pytest.raises(LoginRefused):
        sign_in(db.session, world.clock, passwords, attempt, lambda user: user)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_hashing_gives_way_to_threads_that_answer(passwords: Passwords) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    passwords.hash(Secret("correct horse battery"))
    hashing = [thread for thread in threading.enumerate() if thread.name.startswith("argon2")]
    lowered = {os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) for thread in hashing}
    assert min(19, own + 10) in lowered
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
