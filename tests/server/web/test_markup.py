"""Text of others in markup is text, whichever way it takes."""

from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment
from markupsafe import Markup, escape

from mushu.server.web.markup import AsciiData, escaped, icon, readable, said
from mushu.terminal import is_readable

ANY = st.text() | st.text(st.sampled_from("a <>&\"'`=\u202e\x1b\n~!é🔑"))


@given(ANY)
def test_any_text_is_escaped_as_slowly_or_fast(text: str) -> None:
    assert escaped(text) == str(escape(text))
    assert unescape(escaped(text)) == text


@given(ANY)
def test_any_text_is_read_as_it_is_letter_by_letter(text: str) -> None:
    slowly = "".join(readable(letter) for letter in text)
    assert is_readable(readable(text))
    assert not {*"<>"} & {*readable(text).replace('<small class="ctl">', "").replace("</small>", "")}
    if text.isascii():
        assert readable(text) == slowly
    if text.isascii() and text.isprintable():
        assert readable(text) == str(escape(text))


def test_what_is_marked_as_markup_elsewhere_is_text_here() -> None:
    assert escaped(Markup("<b>")) == readable(Markup("<b>")) == "&lt;b&gt;"


def test_what_a_template_says_is_ascii_and_what_others_wrote_is_as_it_was() -> None:
    template = Environment(extensions=[AsciiData], autoescape=True).from_string("<b>…</b> · {{ name }}{{ '—' }}")
    assert template.render(name="é<") == "<b>&#8230;</b> &#183; é&lt;—"


@pytest.mark.parametrize("tone", ["ok", "warn", "bad", "off", "stop", "wait"])
def test_each_tone_has_a_shape_that_is_seen_without_colour(tone: str) -> None:
    element = said(tone, escaped("<Active>"), "p")
    assert element.startswith('<p class="say ')
    assert element.endswith("</svg><span>&lt;Active&gt;</span></p>")
    assert element.count("#i-") == 1


def test_an_icon_with_a_label_is_read_aloud_and_one_without_is_not() -> None:
    assert icon("eye", "<Shown>") == '<svg class="i" role="img" aria-label="&lt;Shown&gt;"><use href="#i-eye"/></svg>'
    assert 'aria-hidden="true"' in icon("eye")
