"""What is shown once and could not be printed, as on a full disk."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import click
import pytest

from tests.server.commands.conftest import Run

pytestmark = pytest.mark.fault


@contextmanager
def full_disk() -> Iterator[None]:
    """Let nothing reach standard output."""
    real = click.echo

    def echo(message: object = None, err: bool = False, **named: Any) -> None:
        if not err and named.get("file") is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(message, err=err, **named)

    with mock.patch("click.echo", echo):
        yield


def test_a_key_or_a_link_that_nobody_saw_is_ended_and_named(run: Run, acme: str) -> None:
    old = run("keys", "create", "--org", acme, "--name", "old", "--show-once").json["key_id"]
    with full_disk():
        created = run("keys", "create", "--org", acme, "--name", "new", "--show-once")
        rotated = run("keys", "rotate", old, "--show-once")
        invited = run("members", "invite", acme, "--link", "--role", "member")
        reset = run("users", "reset", "ada@example.com")
        shown = run("orgs", "list")

    listed = run("keys", "list", "--org", acme, "--all", "--json").json
    states = {key["name"]: key["state"] for key in listed if key["key_id"] != old}
    why = "What is shown once could not be printed: No space left on device."
    assert [ran.code for ran in (created, rotated, invited, reset, shown)] == [1] * 5
    assert states == {"new": "revoked", "old": "revoked"}
    for key in listed:
        assert key["key_id"] in created.stderr + rotated.stderr
    assert all(why in ran.stderr for ran in (created, rotated, invited, reset))
    assert "Error: The answer could not be printed: No space left on device." in shown.stderr
    assert [one["status"] for one in run("members", "invites", acme, "--all", "--json").json] == ["cancelled"]
    assert "flask users reset ada@example.com" in reset.stderr


def test_the_status_of_a_delivery_is_that_of_the_key(run: Run, acme: str) -> None:
    with full_disk():
        delivered = run("keys", "create", "--org", acme, "--name", "k", "--to", "env:.env")
    (key,) = run("keys", "list", "--org", acme, "--json").json
    assert (delivered.code, key["state"]) == (0, "active")
    assert "It is done." in delivered.stderr
