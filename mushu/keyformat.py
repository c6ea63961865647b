"""The format of credentials: prefix, randomness, checksum (design, section 3).

A credential is a prefix, 22 random base62 characters (131 bits) and 6 base62 characters of CRC-32 over all that stands
before them. The checksum is no secret: it turns a typo or a cut paste into an answer without a look-up, and keeps
secret scanners free of false alarms. Standard library only: clients and plugins may import this module.
"""

import re
import secrets
import string
import zlib
from base64 import b32encode
from enum import StrEnum
from typing import Final

from mushu.environment import Environment
from mushu.secret import Secret

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH: Final = 22
CHECKSUM_LENGTH: Final = 6
BODY_LENGTH: Final = RANDOM_LENGTH + CHECKSUM_LENGTH

#: Two digits of base62, in their order.
_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)
_ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 base32, lower case
_ID_LENGTH: Final = 12


class Prefix(StrEnum):
    """What a credential is, readable at its front."""

    LIVE_KEY = "msk_live_"
    TEST_KEY = "msk_test_"
    CLI_TOKEN = "mct_"
    PASSWORD_LINK = "mpl_"
    DEVICE_CODE = "mdc_"
    INVITATION = "miv_"
    BROWSER_SESSION = "mbs_"


#: What an API key of each environment begins with.
KEY_PREFIXES: Final = {Environment.LIVE: Prefix.LIVE_KEY, Environment.TEST: Prefix.TEST_KEY}

_PREFIXES: Final = {prefix.value: prefix for prefix in Prefix}

#: Finds credentials inside other text, for masking logs and scanning files.
CREDENTIAL_PATTERN: Final = re.compile(
    f"(?:{'|'.join(re.escape(prefix) for prefix in Prefix)})[0-9A-Za-z]{{{BODY_LENGTH}}}"
)


class WrongFormat(ValueError):
    """The text does not have the shape of a credential of this server."""


class WrongChecksum(ValueError):
    """The text has the shape of a credential, but its checksum does not fit: a typo, or a part is missing."""


def generate(prefix: Prefix) -> Secret:
    """Return a new credential with `prefix`, from the operating system's randomness."""
    head = prefix + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return Secret(head + checksum(head))


def parse(text: str) -> Prefix:
    """Return the prefix of a credential whose shape and checksum are right.

    Raises:
        WrongFormat: no known prefix, wrong length, or a character outside base62.
        WrongChecksum: the checksum does not fit.
    """
    if CREDENTIAL_PATTERN.fullmatch(text) is None:
        raise WrongFormat
    head, given = text[:-CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    if checksum(head) != given:
        raise WrongChecksum
    return _PREFIXES[text[:-BODY_LENGTH]]


def checksum(head: str) -> str:
    """Return CRC-32 (ISO 3309) of `head` as six base62 digits, most significant first; 62**6 exceeds 2**32."""
    number, low = divmod(zlib.crc32(head.encode("ascii")), len(_PAIRS))
    high, middle = divmod(number, len(_PAIRS))
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def mask(text: str) -> str:
    """Return `text` with every credential in it cut down to its prefix."""
    return CREDENTIAL_PATTERN.sub(lambda found: found.group()[:-BODY_LENGTH] + "****", text)


def public_id(kind: str) -> str:
    """Return a new public id such as `key_2x7kq4m5znb3`: `kind`, an underscore, 60 random bits in lower-case base32."""
    return f"{kind}_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def public_id_of(kind: str, digest: str) -> str:
    """Return the public id of what is made once for a digest, which is hexadecimal."""
    return f"{kind}_" + b32encode(bytes.fromhex(digest)).decode()[:_ID_LENGTH].lower()
