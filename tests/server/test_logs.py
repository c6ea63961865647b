"""Logs: one JSON object a line, and nothing in it that is shaped like a credential."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from mushu import keyformat
from mushu.keyformat import Prefix
from mushu.server import logs
from tests.cli.test_hostile import PAINT
from tests.server.logged import caught


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    yield from caught(monkeypatch, "info")


def test_a_record_is_one_line_of_json_with_its_extras(stream: io.StringIO) -> None:
    logging.getLogger("x").info("hello %s", "world", extra={"key_id": "key_1"})
    entry = json.loads(stream.getvalue())
    assert entry["message"] == "hello world"
    assert (entry["level"], entry["logger"], entry["key_id"]) == ("INFO", "x", "key_1")
    assert entry["at"].endswith("+00:00")


def test_configuring_twice_does_not_log_twice(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure("info")
    logging.getLogger("x").info("once")
    assert stream.getvalue().count("once") == 1


@pytest.mark.parametrize("prefix", list(Prefix))
def test_a_credential_is_masked_wherever_it_hides(stream: io.StringIO, prefix: Prefix) -> None:
    plaintext = keyformat.generate(prefix).reveal()
    logger = logging.getLogger("x")
    logger.info("message %s", plaintext)
    logger.info("extra", extra={"headers": {"Authorization": plaintext}})
    logger.info(plaintext)
    try:
        raise ValueError(plaintext)
    except ValueError:
        logger.exception("traceback")
    text = stream.getvalue()
    assert len(text.splitlines()) == 4
    assert plaintext not in text
    assert plaintext[-28:] not in text
    assert text.count(f"{prefix}****") == 4


def test_levels_below_the_chosen_one_are_left_out(stream: io.StringIO) -> None:
    logging.getLogger("x").debug("quiet")
    assert stream.getvalue() == ""


@pytest.mark.fault
def test_a_line_holds_nothing_that_steers_what_shows_it_or_ends_it_for_some_readers() -> None:
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, PAINT, None, None)
    record.detail = f"a\u2028b\u2029c\u0085d{PAINT}"
    line = logs.JsonFormatter().format(record)
    assert line.isprintable()
    assert line.splitlines() == [line]
    assert json.loads(line)["message"] == PAINT
