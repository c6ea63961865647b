"""A thousand wrong passwords, from many addresses, at several worker processes at once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Event

import pytest

from tests.e2e.conftest import Start


def test_the_account_is_slowed_down_and_its_owner_still_gets_in(start: Start) -> None:
    server = start(MUSHU_WORKERS="2", MUSHU_CLIENT_ADDRESS_HEADER="Mushuclientip").wait_until_up()
    server.flask("users", "set-password", "owner@localhost", "--password-stdin", stdin="correct horse battery\n")

    def attempt(number: int, password: str = "wrong password!", email: str = "owner@localhost") -> tuple[int, int]:
        """Return the status and the seconds to wait, as one of many addresses behind the proxy."""
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        address = f"198.51.{number // 250}.{number % 250}"
        headers = {"Content-Type": "application/json", "Mushuclientip": address}
        connection.request("POST", "/auth/login", json.dumps({"email": email, "password": password}), headers)
        response = connection.getresponse()
        response.read()
        wait = int(response.headers.get("Retry-After", 0))
        connection.close()
        return response.status, wait

    with ThreadPoolExecutor(8) as attackers:
        answers = list(attackers.map(attempt, range(1000)))
    checked = [status for status, _ in answers if status == 401]
    assert {status for status, _ in answers} == {401, 429}
    # Six without a wait, and one at the end of each wait: 5 + 10 + 20 + … seconds.
    assert 6 <= len(checked) <= 6 + 5, f"{len(checked)} passwords were looked at"

    nowhere = [attempt(1000 + number, email="nobody@example.com")[0] for number in range(8)]
    assert nowhere == [401] * 6 + [429] * 2, "an account that is not there looks the same"

    status, wait = attempt(2000, "correct horse battery")
    if status == 429:
        assert 0 < wait <= 160
        time.sleep(wait)
        status, _ = attempt(2001, "correct horse battery")
    assert status == 200


@pytest.mark.fault
def test_the_owner_gets_in_from_where_they_signed_in_before_while_others_hammer(start: Start) -> None:
    server = start(MUSHU_WORKERS="2", MUSHU_CLIENT_ADDRESS_HEADER="Mushuclientip").wait_until_up()
    server.flask("users", "set-password", "owner@localhost", "--password-stdin", stdin="correct horse battery\n")

    def attempt(address: str, password: str) -> int:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        headers = {"Content-Type": "application/json", "Mushuclientip": address}
        body = json.dumps({"email": "owner@localhost", "password": password})
        connection.request("POST", "/auth/login", body, headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    assert attempt("2001:db8:1:2::1", "correct horse battery") == 200
    ended = Event()

    def hammer(attacker: int) -> set[int]:
        answers = set()
        for number in range(2_000):
            if ended.wait(0.05):
                break
            answers.add(attempt(f"2001:db8:{attacker:x}:{number:x}::1", "wrong password!"))
        return answers

    with ThreadPoolExecutor(4) as threads:
        attackers = [threads.submit(hammer, 0xF + number) for number in range(4)]
        try:
            owner = []
            for number in range(5):
                time.sleep(1.5)
                owner.append(attempt(f"2001:db8:1:2:{number}::7", "correct horse battery"))
        finally:
            ended.set()
    assert owner == [200] * 5
    assert set().union(*(attacker.result() for attacker in attackers)) == {401, 429}
