"""Decodes one picture: from standard input, which is a file, to standard output. Run as a process of its own.

A picture is what an attacker may shape most freely, and decoders are written in C. So they work where nothing is to be
found, no key and no database, and where memory, time and output are bounded. Stands alone: imports nothing of Mushu.

    decoder.py FORMAT MAX_PIXELS check              nothing is written; ends with 0 if it can be decoded whole
    decoder.py FORMAT MAX_PIXELS cover WIDTH HEIGHT
    decoder.py FORMAT MAX_PIXELS width WIDTH        nothing is ever made larger than it is

Ends with 3 and a sentence on standard error for a picture that is refused; with anything else if it broke.
"""

import io
import os
import resource
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

if TYPE_CHECKING:
    from PIL import Image

REFUSED: Final = 3
LONGEST_SIDE: Final = 30_000
_MEBIBYTE: Final = 1024 * 1024
#: Python, Pillow and its libraries themselves; mostly addresses that are never touched.
_BASE_MEMORY: Final = 512 * _MEBIBYTE
#: Four bytes a pixel, twice, and what a decoder keeps besides.
_BYTES_A_PIXEL: Final = 12
_MOST_PROFILE: Final = 4 * _MEBIBYTE
_CPU_SECONDS: Final = 30
_MOST_OUTPUT: Final = 64 * _MEBIBYTE
_ORIENTATION: Final = 0x0112
#: How to turn a picture whose EXIF says this; from 5 on, width and height change places.
_TURNS: Final = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
                 7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip


class RefusedPicture(Exception):
    """It cannot be shown, and the sentence says why."""


def bound(max_pixels: int) -> None:
    """Give up what could hurt others: memory, time, output, a place among what the kernel spares."""
    memory = _BASE_MEMORY + _BYTES_A_PIXEL * max_pixels
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, _MOST_OUTPUT),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    os.nice(15)
    with suppress(OSError):  # other systems than Linux have no such file
        Path("/proc/self/oom_score_adj").write_text("1000")


def opened(file: BinaryIO, image_format: str, max_pixels: int) -> "Image.Image":
    """Open a picture of this format and no other, and refuse it by its size before it is decoded."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        image = Image.open(file, formats=[image_format])
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise RefusedPicture(_too_large(max_pixels)) from None
    width, height = image.size
    if width * height > max_pixels or max(width, height) > LONGEST_SIDE:
        raise RefusedPicture(_too_large(max_pixels))
    if min(width, height) < 1:
        raise RefusedPicture("The picture is empty.")
    return image


def check(image: "Image.Image") -> None:
    """Decode it: what ends too early, or holds nonsense, raises."""
    image.draft(None, (1, 1))
    image.load()


def variant(image: "Image.Image", how: str, box: list[int]) -> tuple["Image.Image", str]:
    """Return the picture in another size, upright, in sRGB, without metadata; and the format it is best kept in."""
    turn = _turn_of(image)
    sideways = turn in ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    width, height = image.size[::-1] if sideways else image.size
    wanted = _scaled(width, height, how, box)
    profile = image.info.get("icc_profile")
    if sideways:
        wanted = wanted[1], wanted[0]
    image.draft("RGB", wanted)
    image = _resized(_plain(image), wanted)
    image = _turned(image, turn)
    if how == "cover":
        image = _middle(image, box)
    image = _in_srgb(image, profile)
    image.info.clear()
    return image, "PNG" if image.mode == "RGBA" else "JPEG"


def save(image: "Image.Image", image_format: str) -> bytes:
    """Return the bytes of a picture, with nothing in them but the picture."""
    kept = io.BytesIO()
    if image_format == "PNG":
        image.save(kept, "PNG", optimize=True)
    else:
        image.save(kept, "JPEG", quality=82, optimize=True, progressive=True)
    return kept.getvalue()


def main(arguments: list[str]) -> int:
    image_format, max_pixels, how, *box = arguments[0], int(arguments[1]), arguments[2], *map(int, arguments[3:])
    bound(max_pixels)
    try:
        image = opened(cast(BinaryIO, sys.stdin.buffer), image_format, max_pixels)
        if how == "check":
            check(image)
            return 0
        sys.stdout.buffer.write(save(*variant(image, how, box)))
        sys.stdout.buffer.flush()
    except RefusedPicture as refused:
        return _say(str(refused))
    except MemoryError:
        return _say("The picture needs more memory than a picture may.")
    except Exception:  # whatever Pillow finds wrong with it; not told, it would quote the file
        return _say(f"The picture is broken, or is no {image_format}.")
    return 0


def _too_large(max_pixels: int) -> str:
    return f"The picture is too large: {max_pixels} pixels are allowed, and {LONGEST_SIDE} on a side."


def _say(sentence: str) -> int:
    sys.stderr.write(sentence)
    return REFUSED


def _turn_of(image: "Image.Image") -> str | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF that cannot be read says nothing
        return None


def _scaled(width: int, height: int, how: str, box: list[int]) -> tuple[int, int]:
    factors = [wanted / there for wanted, there in zip(box, (width, height), strict=False)]
    factor = min(1.0, max(factors) if how == "cover" else factors[0])
    return max(1, round(width * factor)), max(1, round(height * factor))


def _plain(image: "Image.Image") -> "Image.Image":
    """Return it decoded, as RGB, or as RGBA where a part is transparent."""
    image.load()
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        lowest, _ = cast(tuple[int, int], image.getchannel("A").getextrema())
        return image if lowest < 255 else image.convert("RGB")
    if image.mode.startswith(("I", "F")):  # 16 bits of grey
        image = image.point(lambda value: value / 256).convert("L")
    return image if image.mode == "RGB" else image.convert("RGB")


def _resized(image: "Image.Image", size: tuple[int, int]) -> "Image.Image":
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _turned(image: "Image.Image", turn: str | None) -> "Image.Image":
    from PIL import Image

    return image if turn is None else image.transpose(Image.Transpose[turn])


def _middle(image: "Image.Image", box: list[int]) -> "Image.Image":
    width, height = min(box[0], image.width), min(box[1], image.height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _in_srgb(image: "Image.Image", profile: object) -> "Image.Image":
    """Turn colours into those that are assumed where no profile stands; a profile that is nonsense changes nothing."""
    if not isinstance(profile, bytes) or len(profile) > _MOST_PROFILE:
        return image
    from PIL import ImageCms

    with suppress(Exception):
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        turned = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode=image.mode)
        return turned or image
    return image


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
