"""What a file may be called, what kinds of content there are, and the key under which its bytes lie."""

import re
import secrets
import unicodedata
from typing import Final
from urllib.parse import quote

from mushu.server.errors import Invalid

MOST_LETTERS: Final = 255
#: RFC 6838, section 4.2; what may follow after a semicolon is no part of it.
CONTENT_TYPE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,48}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,48}$"
KEY_PATTERN: Final = r"^[0-9a-f]{32}-[A-Za-z0-9._-]{1,60}$"

#: Content types that Pillow decodes for us, and what it calls them.
PICTURES: Final = {
    "image/jpeg": "JPEG",
    "image/jpg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/avif": "AVIF",
}
#: What a browser shows without running anything that is in it.
_INLINE: Final = frozenset(PICTURES) | {
    "audio/aac", "audio/flac", "audio/mp4", "audio/mpeg", "audio/ogg", "audio/wav", "audio/webm",
    "video/mp4", "video/ogg", "video/quicktime", "video/webm",
}  # fmt: skip
#: What a browser could run.
_ACTIVE: Final = frozenset({"text/html", "text/css", "application/wasm"})
_ACTIVE_PARTS: Final = ("javascript", "ecmascript", "livescript")
_DOCUMENTS: Final = re.compile(
    r"(?:text/.*|application/(?:pdf|rtf|json|xml|epub\+zip|msword|vnd\.(?:ms-|openxmlformats-|oasis\.|apple\.).*))"
)
_CONTENT_TYPE: Final = re.compile(CONTENT_TYPE_PATTERN)
_UNSAFE_IN_KEY: Final = re.compile(r"[^A-Za-z0-9]+")
_UNSAFE_IN_HEADER: Final = re.compile(r"[^A-Za-z0-9 ._()+,=@-]")
#: Joiners stand inside emoji and Persian words; every other invisible character could make a name read as another.
_JOINERS: Final = "\u200c\u200d"


def checked_filename(name: str) -> str:
    """Return the name of a file, which is a label only: no path is ever made of it.

    Raises:
        Invalid: it is empty, too long, a path, or holds what cannot be seen.
    """
    if not name.strip() or len(name) > MOST_LETTERS:
        raise Invalid(f"A filename has 1 to {MOST_LETTERS} characters.", field="filename")
    if "/" in name or "\\" in name or name in (".", ".."):
        raise Invalid("A filename is the name of a file, without folders.", field="filename")
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in name if letter not in _JOINERS):
        raise Invalid("A filename holds no control, direction or other invisible characters.", field="filename")
    return name


def checked_content_type(content_type: str) -> str:
    """Return the content type in lower case.

    Raises:
        Invalid: it is not `type/subtype`.
    """
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise Invalid("A content type is written as type/subtype, such as image/png.", field="content_type")
    return content_type.lower()


def new_key(filename: str) -> str:
    """Return a key of 128 random bits and what is safe of the name, so that a person who sees it has an idea.

    A key is one part of a path and of an address: neither the name nor the organization could lead it elsewhere, and
    whoever holds it was given it.
    """
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    safe = _UNSAFE_IN_KEY.sub("-", plain.rpartition(".")[0] or plain).strip("-")[:48] or "file"
    ending = _UNSAFE_IN_KEY.sub("", plain.rpartition(".")[2])[:10] if "." in plain else ""
    return f"{secrets.token_hex(16)}-{safe}" + (f".{ending.lower()}" if ending else "")


def media_type_of(content_type: str) -> str:
    """Return what clients sort media by: image, video, document or other."""
    family = content_type.partition("/")[0]
    if family in ("image", "video"):
        return family
    return "document" if _DOCUMENTS.fullmatch(content_type) else "other"


def shown_inline(content_type: str) -> bool:
    """Tell whether a browser may show it in place of saving it."""
    return content_type in _INLINE


def served_type(content_type: str) -> str:
    """Return the content type under which it is served: what a browser could run is bytes to it."""
    active = (
        content_type in _ACTIVE
        or content_type.startswith("multipart/")
        or content_type.endswith(("/xml", "+xml"))
        or any(part in content_type for part in _ACTIVE_PARTS)
    )
    return "application/octet-stream" if active else content_type


def disposition_of(filename: str, content_type: str) -> str:
    """Return a `Content-Disposition` (RFC 6266) that no filename can break out of."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    plain = _UNSAFE_IN_HEADER.sub("_", plain).strip() or "file"
    kind = "inline" if shown_inline(content_type) else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
