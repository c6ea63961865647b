"""Does a file begin like what it says it is?"""

import re
from collections.abc import Callable

import pytest

from mushu.server.resources.media.content_types import disposition_of, kind_of, media_type_of, mismatch, served_type
from mushu.server.resources.media.models import KEY_PATTERN, new_key
from tests.patterns.growth import is_superlinear
from tests.server.resources.media.studio import picture

FILMS = b"\x00\x00\x00\x20ftypisom" + b"\x00" * 20
HTML = (
    b"<!DOCTYPE html><html>", b"  \n<html>", b"<script>alert(1)</script>", b"<!-- x --><svg onload=alert(1)>",
    b"\xef\xbb\xbf<html>", "\ufeff<html>".encode("utf-16-le"), b"<?xml version='1.0'?><svg/>", b"<ScRiPt >",
)  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "head"),
    [
        ("image/png", picture("PNG")), ("image/jpeg", picture("JPEG")), ("image/jpg", picture("JPEG")),
        ("image/gif", picture("GIF")), ("image/webp", picture("WEBP")), ("image/avif", picture("AVIF")),
        ("image/bmp", picture("BMP")), ("image/tiff", picture("TIFF")), ("image/x-icon", picture("ICO", (32, 32))),
        ("video/mp4", FILMS), ("video/quicktime", b"\x00\x00\x00\x14ftypqt  "),
        ("video/quicktime", b"\x00\x00\x00\x08moov"),
        ("video/webm", b"\x1aE\xdf\xa3..."), ("audio/mpeg", b"ID3\x03"), ("audio/mpeg", b"\xff\xfb\x90"),
        ("audio/wav", b"RIFF\x00\x00\x00\x00WAVE"), ("application/pdf", b"%PDF-1.7"),
        ("application/zip", b"PK\x03\x04"),
        ("image/svg+xml", b"<svg xmlns='x'/>"), ("text/html", b"<html>"), ("text/plain", b"<html>"),
        ("image/x-unknown", b"\x01\x02"), ("application/octet-stream", b"MZ"), ("application/json", b"{}"),
        ("application/vnd.openxmlformats-officedocument.wordprocessing", b"PK\x03\x04"), ("text/csv", b""),
    ],
)  # fmt: skip
def test_what_fits_is_taken(content_type: str, head: bytes) -> None:
    assert mismatch(content_type, head[:4096]) is None


@pytest.mark.parametrize("head", [*HTML, b"MZ\x90", b"\x7fELF", b"#!/bin/sh", b"PK\x03\x04", b"%PDF-1.7"])
@pytest.mark.parametrize("content_type", ["image/png", "image/x-unknown", "video/mp4", "video/x-unknown", "font/woff2"])
def test_what_a_browser_or_a_shell_could_run_is_no_picture_and_no_film(content_type: str, head: bytes) -> None:
    assert mismatch(content_type, head) is not None


@pytest.mark.parametrize("head", HTML)
def test_markup_is_known_however_it_is_dressed(head: bytes) -> None:
    assert kind_of(head) == "markup"


@pytest.mark.parametrize("head", [b"a < b", b"<3", b"<abbreviation", b"", b"\x00", b"RIFF....AVI "])
def test_what_only_looks_like_something_is_nothing(head: bytes) -> None:
    assert kind_of(head) is None


@pytest.mark.parametrize(
    ("content_type", "family"),
    [
        ("image/heic", "image"), ("video/mp4", "video"), ("application/pdf", "document"), ("text/csv", "document"),
        ("application/vnd.oasis.opendocument.text", "document"), ("audio/mpeg", "other"), ("application/zip", "other"),
    ],
)  # fmt: skip
def test_media_are_of_one_of_four_types(content_type: str, family: str) -> None:
    assert media_type_of(content_type) == family


def test_what_a_browser_could_run_is_served_as_bytes() -> None:
    for active in (
        "text/html",
        "image/svg+xml",
        "application/xml",
        "text/javascript",
        "application/ecmascript",
        "text/css",
    ):
        assert served_type(active) == "application/octet-stream"
        assert disposition_of("a", active).startswith("attachment")
    assert served_type("application/pdf") == "application/pdf"
    assert disposition_of("a", "application/pdf").startswith("attachment")
    assert disposition_of("a", "image/png").startswith("inline")


@pytest.mark.parametrize(
    ("filename", "ending"),
    [("a.png", "-a.png"), ("Übung ☕.TXT", "-Ubung.txt"), ("写真", "-file"), (".htaccess", "-htaccess.htaccess"),
     ("a" * 255, "-" + "a" * 48), ("a.b.tar.gz", "-a-b-tar.gz"), ("a." + "b" * 50, "-a." + "b" * 10), ("a.", "-a")],
)  # fmt: skip
def test_a_key_is_chance_and_what_is_safe_of_the_name(filename: str, ending: str) -> None:
    keys = {new_key(filename) for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        assert re.fullmatch(KEY_PATTERN, key)
        assert key[32:] == ending


@pytest.mark.fault
@pytest.mark.timeout(60)
def test_comments_are_told_from_their_beginning_and_not_looked_through() -> None:
    """The first of them is a sign of markup to a browser; forty kept a worker busy until it was killed."""
    for head in (b"<!---->" * 40, b"\n <!-- " + b"<!---->" * 580, b"<!-->x"):
        assert kind_of(head) == "markup"
        assert mismatch("text/plain", head) is None
        assert mismatch("image/svg+xml", head) is None
        assert mismatch("image/x-unknown", head) is not None


@pytest.mark.fault
def test_scripts_in_a_content_type_that_repeats_them_are_told_in_linear_time() -> None:
    def asking(size: int) -> Callable[[], str]:
        content_type = "application/" + "javascript" * (size // 10) + "\n"
        return lambda: served_type(content_type)

    assert not is_superlinear(asking)
