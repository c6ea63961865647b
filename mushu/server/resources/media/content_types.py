"""What a file is: its content type, what may be done with one of it, and whether its first bytes contradict it.

Files of types that begin in no certain way (text, JSON, `application/octet-stream`) are taken as they are: they are
served for saving, never to be shown.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import quote

from mushu.server.errors import Invalid

#: RFC 6838, section 4.2; what may follow after a semicolon is no part of it.
CONTENT_TYPE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,48}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,48}$"

#: Content types that Pillow decodes for us, and what it calls them.
PICTURES: Final = {
    "image/jpeg": "JPEG",
    "image/jpg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/avif": "AVIF",
}
#: Of a picture: larger ones are not decoded.
MOST_PICTURE_BYTES: Final = 64 * 1024 * 1024
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
_UNSAFE_IN_HEADER: Final = re.compile(r"[^A-Za-z0-9 ._()+,=@-]")


def checked_content_type(content_type: str) -> str:
    """Return the content type in lower case.

    Raises:
        Invalid: it is not `type/subtype`.
    """
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise Invalid("A content type is written as type/subtype, such as image/png.", field="content_type")
    return content_type.lower()


def is_picture(content_type: str) -> bool:
    """Tell whether there are variants of it."""
    return content_type in PICTURES


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


#: How many bytes are looked at.
HEAD: Final = 4_096

_SIGNATURES: Final = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (8, b"WAVE", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
    (0, b"MZ", "program"),
    (0, b"\x7fELF", "program"),
    (0, b"#!", "program"),
)
#: The major brand of an ISO base media file; every other one is a film.
_BRANDS: Final = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic",
    b"M4A ": "audio/mp4", b"qt  ": "video/quicktime",
}  # fmt: skip
_ATOMS: Final = (b"moov", b"mdat", b"free", b"wide", b"skip")
#: A comment alone is a sign of markup, as it is to browsers (WHATWG, MIME Sniffing, 7.1), so none is looked through.
_MARKUP: Final = re.compile(
    rb"\s*+<(?:!--|(?:!doctype|\?xml|html|head|body|script|iframe|svg|style|title|table|div|img|a|p|h1|br|b)\b)",
    re.IGNORECASE,
)
_FILMS: Final = frozenset({"video/mp4", "video/quicktime"})
#: What may be found where this was announced; what is not listed has no signature that we know.
_EXPECTED: Final = {
    "image/jpeg": {"image/jpeg"},
    "image/jpg": {"image/jpeg"},
    "image/png": {"image/png"},
    "image/gif": {"image/gif"},
    "image/webp": {"image/webp"},
    "image/avif": {"image/avif", "image/heic"},  # mif1 is a brand of both; the decoder decides
    "image/heic": {"image/heic"},
    "image/heif": {"image/heic"},
    "image/bmp": {"image/bmp"},
    "image/tiff": {"image/tiff"},
    "image/x-icon": {"image/x-icon"},
    "image/vnd.microsoft.icon": {"image/x-icon"},
    "image/svg+xml": {"markup"},
    "video/mp4": _FILMS,
    "video/quicktime": _FILMS,
    "video/x-m4v": _FILMS,
    "video/webm": {"video/webm"},
    "video/x-matroska": {"video/webm"},
    "audio/webm": {"video/webm"},
    "audio/ogg": {"audio/ogg"},
    "video/ogg": {"audio/ogg"},
    "audio/wav": {"audio/wav"},
    "audio/flac": {"audio/flac"},
    "audio/mp4": {"audio/mp4"} | _FILMS,
    "application/pdf": {"application/pdf"},
    "application/zip": {"application/zip"},
    "application/gzip": {"application/gzip"},
}


def mismatch(content_type: str, head: bytes) -> str | None:
    """Return in what the first bytes contradict the content type, as a sentence; None if they do not."""
    found = kind_of(head)
    expected = _EXPECTED.get(content_type)
    if expected is not None:
        return None if found in expected else f"This is announced as {content_type} and does not begin like one."
    family = content_type.partition("/")[0]
    if family in ("image", "video", "audio", "font") and found is not None and not found.startswith(family):
        return f"This is announced as {content_type} and looks like something else ({found})."
    return None


def kind_of(head: bytes) -> str | None:
    """Return what begins like this, or None if nothing that we know does."""
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset) and (offset == 0 or head.startswith(b"RIFF")):
            return kind
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[4:8] in _ATOMS:
        return "video/quicktime"
    return "markup" if _MARKUP.match(_as_ascii(head)) else None


def _as_ascii(head: bytes) -> bytes:
    """Return text without what its encoding puts around ASCII letters."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:].replace(b"\x00", b"")
    return head.removeprefix(b"\xef\xbb\xbf")
