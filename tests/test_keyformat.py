"""The format of credentials: what the checksum promises."""

import re
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mushu import keyformat
from mushu.keyformat import ALPHABET, BODY_LENGTH, Prefix, WrongChecksum, WrongFormat

pytestmark = pytest.mark.unmeasured

SHAPE = re.compile(r"(msk_live_|msk_test_|mct_|mpl_|mdc_|miv_|mbs_)[0-9A-Za-z]{28}")


def test_ten_thousand_generated_credentials_all_parse_and_none_repeats() -> None:
    prefixes = list(Prefix)
    made = [keyformat.generate(prefixes[i % len(prefixes)]).reveal() for i in range(10_000)]
    for i, text in enumerate(made):
        assert SHAPE.fullmatch(text)
        assert keyformat.parse(text) is prefixes[i % len(prefixes)]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("prefix", list(Prefix))
def test_every_change_of_a_single_character_is_refused(prefix: Prefix) -> None:
    """CRC-32 finds every burst of up to 32 bits, so no replacement of one character can slip through."""
    for _ in range(5):
        text = keyformat.generate(prefix).reveal()
        for place in range(len(text)):
            for letter in ALPHABET + "_-é ":
                if letter != text[place]:
                    with pytest.raises((WrongChecksum, WrongFormat)):
                        keyformat.parse(text[:place] + letter + text[place + 1 :])


def test_a_change_within_the_alphabet_is_called_a_typo() -> None:
    text = keyformat.generate(Prefix.LIVE_KEY).reveal()
    swapped = text[:-1] + ("A" if text[-1] != "A" else "B")
    with pytest.raises(WrongChecksum):
        keyformat.parse(swapped)


@given(st.data())
def test_swapping_two_different_neighbours_is_refused(data: st.DataObject) -> None:
    text = keyformat.generate(Prefix.TEST_KEY).reveal()
    start = len(Prefix.TEST_KEY)
    place = data.draw(st.integers(start, len(text) - 2).filter(lambda i: text[i] != text[i + 1]))
    with pytest.raises(WrongChecksum):
        keyformat.parse(text[:place] + text[place + 1] + text[place] + text[place + 2 :])


@given(st.text(max_size=60))
def test_no_other_text_is_taken_for_a_credential(text: str) -> None:
    with pytest.raises((WrongFormat, WrongChecksum)):
        keyformat.parse(text)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("msk_live_", "msk_life_"),
        lambda text: text.upper(),
        lambda text: text[:-1] + "١",  # a digit, but not one of ours
        lambda text: "",
    ],
)
def test_a_damaged_credential_is_refused(damage: object) -> None:
    text = keyformat.generate(Prefix.LIVE_KEY).reveal()
    with pytest.raises((WrongFormat, WrongChecksum)):
        keyformat.parse(damage(text))  # type: ignore[operator]


def test_a_test_key_cannot_be_relabelled_as_a_live_one() -> None:
    text = keyformat.generate(Prefix.TEST_KEY).reveal()
    with pytest.raises(WrongChecksum):
        keyformat.parse(text.replace("msk_test_", "msk_live_"))


def test_the_checksum_is_crc_32_in_base62() -> None:
    head = "msk_live_" + "0" * 22
    number = 0
    for letter in keyformat.checksum(head):
        number = number * 62 + ALPHABET.index(letter)
    assert number == zlib.crc32(head.encode())


def test_all_characters_are_drawn_alike() -> None:
    drawn = Counter("".join(keyformat.generate(Prefix.LIVE_KEY).reveal()[9:31] for _ in range(3_000)))
    expected = 3_000 * 22 / 62
    assert set(drawn) == set(ALPHABET)
    # Far beyond chance: sixty-two counts of about 1,065 stay within seven standard deviations.
    assert all(abs(count - expected) < 7 * expected**0.5 for count in drawn.values())


def test_masking_leaves_the_prefix_and_nothing_else() -> None:
    key, token = keyformat.generate(Prefix.LIVE_KEY).reveal(), keyformat.generate(Prefix.CLI_TOKEN).reveal()
    masked = keyformat.mask(f"x={key}&y={token}{token};")
    assert masked == "x=msk_live_****&y=mct_****mct_****;"
    assert key[-BODY_LENGTH:] not in masked


def test_public_ids_are_a_kind_and_twelve_characters_of_base32() -> None:
    made = {keyformat.public_id("key") for _ in range(2_000)}
    assert len(made) == 2_000
    assert all(re.fullmatch(r"key_[a-z2-7]{12}", identifier) for identifier in made)
