"""Connections: how many, to whom, for how long; and that nothing that goes over them is written into a log."""

import asyncio
import gc
import io
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from mushu.server import logs
from mushu.server.core import db
from mushu.server.db import own_session
from mushu.server.environments import set_environment
from mushu.server.resources.apple_credentials import ProviderTokens
from mushu.server.resources.notifications import connection
from mushu.server.resources.notifications.apns import Hosts
from mushu.server.resources.notifications.connection import BackgroundLoop
from mushu.server.resources.notifications.sender import Sender, Timing
from tests.conftest import TurnableClock
from tests.server.logged import caught
from tests.server.resources.notifications.conftest import LIVE, TOKEN, OneDevice, Post, Waiting
from tests.server.resources.notifications.stand_in import Reply, StandIn

pytestmark = pytest.mark.database


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged at the level that logs most."""
    yield from caught(monkeypatch, "debug")


class TestLogs:
    def test_hold_no_token_no_signature_and_no_payload(
        self, live: Post, apple: StandIn, stream: io.StringIO, clock: TurnableClock
    ) -> None:
        credentials = apple.credentials()
        tenant = live.tenant(credentials)
        live.device(tenant)
        apple.will(TOKEN, Reply(503), Reply(410, "Unregistered"))
        live.send(tenant, payload={"aps": {"alert": {"title": "Between us"}}})
        logging.getLogger("x").debug("something else")
        text = stream.getvalue()
        assert "something else" in text
        for secret in (TOKEN, TOKEN[:12], ProviderTokens(clock).current(credentials)[-20:], "Between us", "/3/device"):
            assert secret not in text

    def test_of_the_libraries_are_no_louder_than_the_rest(
        self, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stderr", stream)
        logs.configure("error")
        logging.getLogger("httpx").warning("quiet")
        logging.getLogger("httpx").error("loud")
        assert "quiet" not in stream.getvalue()
        assert "loud" in stream.getvalue()


class TestConnections:
    def test_idle_ones_beyond_the_bound_are_closed(
        self, live: Post, apple: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "_MOST_CONNECTIONS", 2)
        tenants = [live.tenant(apple.credentials(team_id=f"TEAM00000{number}")) for number in range(4)]
        for tenant in tenants:
            live.device(tenant)
            assert live.send(tenant)[0].outcome == "sent"
        assert len(live.dispatcher.sender._connections._connections) == 2
        assert live.send(tenants[0])[0].outcome == "sent"
        assert apple.connections == 5

    def test_many_threads_share_one(self, live: Post, apple: StandIn) -> None:
        tenant = live.tenant(apple.credentials())
        users = [f"user {number}" for number in range(40)]
        for number, user in enumerate(users):
            live.device(tenant, f"{number:064x}", user)
        request = live.request(tenant, users)
        engine, failures = db.engine, list[str]()

        def send() -> None:
            with own_session(engine) as session:
                set_environment(session, LIVE)
                notification = replace(live.dispatcher, session=session).dispatch(request)
                if notification.completed_at is None:
                    failures.append(notification.id)

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (apple.count, apple.connections, failures) == (240, 1, [])

    def test_a_stand_in_on_this_machine_may_do_without_tls(self, post: Post, clock: TurnableClock) -> None:
        plain = StandIn(clock, encrypted=False)
        try:
            tenant = post.tenant(plain.credentials())
            post.device(tenant)
            hosts = Hosts(plain.url, plain.url)
            here = replace(post, dispatcher=replace(post.dispatcher, hosts=hosts))
            assert here.send(tenant)[0].outcome == "sent"
            assert (plain.count, plain.problems) == (1, [])
        finally:
            plain.close()

    def test_to_this_machine_go_through_no_proxy(self, phone: OneDevice, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        assert phone.send().outcome == "sent"

    def test_to_elsewhere_go_through_the_proxy_of_the_environment(
        self, post: Post, apple: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bytes] = []
        proxy = socket.create_server(("127.0.0.1", 0))

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = proxy.accept()
                    with connection:
                        asked.append(connection.recv(4_096))

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        tenant = post.tenant(apple.credentials())
        post.device(tenant)
        hosts = Hosts("https://apns.invalid", "https://sandbox.invalid")
        (row,) = replace(post, dispatcher=replace(post.dispatcher, hosts=hosts)).send(tenant)
        proxy.shutdown(socket.SHUT_RDWR)
        proxy.close()
        thread.join()
        assert (row.outcome, row.reason) == ("failed", "unreachable")
        assert len(asked) == row.attempts == 4
        for request in asked:
            assert request.startswith(b"CONNECT apns.invalid:443 ")
            assert TOKEN.encode() not in request
            assert b"authorization" not in request.lower()

    def test_that_are_cut_off_in_the_middle_of_the_handshake_are_closed(
        self, post: Post, apple: StandIn, clock: TurnableClock, waiting: Waiting
    ) -> None:
        impatient = Sender(clock, Timing(waiting.sleep, waiting.now, attempts=1, attempt_seconds=0.3))
        mute = socket.create_server(("127.0.0.1", 0))
        tenant = post.tenant(apple.credentials())
        post.device(tenant)
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        there = replace(post, dispatcher=replace(post.dispatcher, hosts=Hosts(url, url)))
        gc.disable()  # it would close them as well, some day
        try:
            (row,) = there.with_sender(impatient).send(tenant)
            connection, _ = mute.accept()
            with connection:
                connection.settimeout(10)
                while connection.recv(4_096):
                    pass
        finally:
            gc.enable()
            impatient.close()
            mute.close()
        assert (row.outcome, row.reason) == ("failed", "unreachable")


class TestTheLoop:
    def test_is_one_thread_that_begins_with_the_first_call(self) -> None:
        loop, before = BackgroundLoop(), threading.active_count()

        async def where() -> str:
            return threading.current_thread().name

        assert threading.active_count() == before
        assert {loop.run(where()) for _ in range(3)} == {"apns"}
        assert threading.active_count() == before + 1
        loop.close()
        assert threading.active_count() == before

    def test_hands_on_what_is_raised(self) -> None:
        loop = BackgroundLoop()

        async def fail() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            loop.run(fail())
        loop.close()

    def test_is_closed_once_and_begins_anew(self) -> None:
        loop = BackgroundLoop()
        loop.close()
        for _ in range(2):
            loop.run(asyncio.sleep(0))
            loop.close()
            loop.close()

    def test_begins_anew_after_a_fork(self, phone: OneDevice, apple: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        phone.send()
        sender = phone.post.dispatcher.sender
        inherited, process = sender._loop._loop, os.getpid()
        thread = sender._loop._thread
        monkeypatch.setattr(os, "getpid", lambda: process + 1)
        assert phone.send().outcome == "sent"
        assert sender._loop._loop is not inherited
        assert apple.connections == 2  # the first is the other process's, and left alone
        assert inherited is not None
        assert thread is not None
        leftovers = [one for one in sender._connections._inherited if one]
        assert len(leftovers) == 1
        for one in leftovers[0].values():  # type: ignore[attr-defined]
            asyncio.run_coroutine_threadsafe(one.close(), inherited).result()
        inherited.call_soon_threadsafe(inherited.stop)
        thread.join()
        inherited.close()
