"""Pictures, good and hostile, through the decoder: in a process of its own, as it is run, and here, to look inside."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from mushu.server.resources.media import decoder, pictures
from mushu.server.resources.media.content_types import PICTURES
from mushu.server.resources.media.pictures import Pictures, Variant
from tests.server.resources.media.studio import black, picture

MOST = 1_000_000
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp", "AVIF": "image/avif"}


def file_of(content: bytes, folder: Path) -> io.BufferedReader:
    path = folder / "picture"
    path.write_bytes(content)
    return path.open("rb")


def refusal(content: bytes, content_type: str, folder: Path, most: int = MOST) -> str | None:
    with file_of(content, folder) as file:
        return Pictures(most).refusal(file, content_type)


def made(content: bytes, image_format: str, how: str, *box: int) -> Image.Image:
    image = decoder.opened(io.BytesIO(content), image_format, 50_000_000)
    return Image.open(io.BytesIO(decoder.save(*decoder.variant(image, how, list(box)))))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *more: bytes, rows: bytes = b"") -> bytes:
    """Return a PNG that says this size of itself, whatever is in it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class TestWhatIsTaken:
    @pytest.mark.parametrize("image_format", TYPES)
    def test_every_format_that_is_named(self, tmp_path: Path, image_format: str) -> None:
        assert refusal(picture(image_format), TYPES[image_format], tmp_path) is None

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
    def test_every_mode(self, tmp_path: Path, mode: str) -> None:
        content = picture(mode="L") if mode == "I;16" else picture(mode=mode)
        if mode == "I;16":
            kept = io.BytesIO()
            Image.new("I;16", (40, 40), 40_000).save(kept, "PNG")
            content = kept.getvalue()
        assert refusal(content, "image/png", tmp_path) is None
        assert made(content, "PNG", "width", 20).mode in ("L", "RGB", "RGBA")

    def test_pictures_in_cmyk_and_progressive_ones(self, tmp_path: Path) -> None:
        for content in (picture("JPEG", mode="CMYK"), picture("JPEG", progressive=True)):
            assert refusal(content, "image/jpeg", tmp_path) is None
            assert made(content, "JPEG", "width", 100).size == (100, 50)


class TestWhatIsRefused:
    @pytest.mark.parametrize("image_format", TYPES)
    @pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
    def test_what_is_cut_short(self, tmp_path: Path, image_format: str, kept: float) -> None:
        noise = Image.effect_noise((300, 300), 100).convert("RGB")
        whole = io.BytesIO()
        noise.save(whole, image_format)
        content = whole.getvalue()
        assert refusal(content[: int(len(content) * kept)], TYPES[image_format], tmp_path) is not None

    @pytest.mark.parametrize("image_format", TYPES)
    def test_one_format_under_the_name_of_another(self, tmp_path: Path, image_format: str) -> None:
        for other in set(TYPES) - {image_format}:
            assert refusal(picture(image_format), TYPES[other], tmp_path) is not None

    @pytest.mark.parametrize(
        "content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"<svg/>", b"\x00" * 100_000]
    )
    @pytest.mark.parametrize("image_format", TYPES)
    def test_nonsense(self, tmp_path: Path, content: bytes, image_format: str) -> None:
        assert refusal(content, TYPES[image_format], tmp_path) is not None

    @pytest.mark.parametrize("image_format", ["PNG", "GIF", "WEBP"])
    def test_more_pixels_than_are_allowed(self, tmp_path: Path, image_format: str) -> None:
        refused = refusal(black(image_format, (2_000, 2_000)), TYPES[image_format], tmp_path)
        assert refused is not None
        assert "too large" in refused

    @pytest.mark.parametrize(("width", "height"), [(2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (60_000, 1), (0, 10)])
    def test_sizes_that_are_lies(self, tmp_path: Path, width: int, height: int) -> None:
        assert refusal(png(width, height), "image/png", tmp_path) is not None

    def test_a_text_that_inflates(self, tmp_path: Path) -> None:
        bomb = chunk(b"zTXt", b"a\x00\x00" + zlib.compress(b"\x00" * 50_000_000))
        assert refusal(png(10, 10, bomb, rows=b"\x00" * 110), "image/png", tmp_path) is not None

    def test_what_needs_more_memory_than_there_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        content = black("PNG", (9_000, 9_000))
        script = (
            "import sys; sys.path.insert(0, sys.argv.pop(1)); import decoder; decoder._BASE_MEMORY = 60 * 2**20;"
            "decoder._BYTES_A_PIXEL = 0; sys.exit(decoder.main(sys.argv[1:]))"
        )
        folder = str(Path(decoder.__file__).parent)
        with file_of(content, tmp_path) as file:
            done = subprocess.run(
                [sys.executable, "-c", script, folder, "PNG", "100000000", "width", "9000"],
                stdin=file, capture_output=True, check=False,
            )  # fmt: skip
        assert done.returncode != 0
        assert b"Traceback" not in done.stderr or b"MemoryError" in done.stderr

    def test_a_decoder_that_breaks_or_does_not_end_is_a_refusal(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken, endless = tmp_path / "broken.py", tmp_path / "endless.py"
        broken.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        endless.write_text("import time; time.sleep(60)")
        monkeypatch.setattr(pictures, "_LONGEST", 0.5)
        for program in (broken, endless):
            monkeypatch.setattr(pictures, "_DECODER", program)
            assert refusal(picture(), "image/png", tmp_path) == "The picture cannot be decoded."


class TestVariants:
    @pytest.mark.parametrize(
        ("size", "variant", "expected"),
        [
            ((400, 200), ("cover", 150, 150), (150, 150)),
            ((200, 400), ("cover", 150, 150), (150, 150)),
            ((100, 400), ("cover", 150, 150), (100, 150)),
            ((40, 30), ("cover", 150, 150), (40, 30)),
            ((2000, 1000), ("width", 320), (320, 160)),
            ((200, 1000), ("width", 320), (200, 1000)),
            ((5000, 1), ("width", 320), (320, 1)),
        ],
    )
    @pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
    def test_have_their_size_and_are_never_larger_than_the_original(
        self, image_format: str, size: tuple[int, int], variant: tuple[str, int], expected: tuple[int, int]
    ) -> None:
        assert made(picture(image_format, size), image_format, *variant).size == expected

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_stand_upright(self, orientation: int) -> None:
        upright = Image.new("RGB", (400, 200), "red")
        upright.paste("blue", (200, 0, 400, 200))
        lies = {1: None, 2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
                7: "TRANSVERSE", 8: "ROTATE_270"}[orientation]  # fmt: skip
        stored = upright if lies is None else upright.transpose(Image.Transpose[lies])
        exif = Image.Exif()
        exif[0x0112] = orientation
        kept = io.BytesIO()
        stored.save(kept, "JPEG", exif=exif, quality=95)
        shown = made(kept.getvalue(), "JPEG", "width", 100)
        assert shown.size == (100, 50)
        left, right = shown.getpixel((10, 25)), shown.getpixel((90, 25))
        assert isinstance(left, tuple)
        assert isinstance(right, tuple)
        assert left[0] > 200 > 60 > left[2]
        assert right[2] > 200 > 60 > right[0]

    def test_carry_no_metadata(self) -> None:
        exif = Image.Exif()
        exif[0x010F] = "Camera of Ada"
        exif.get_ifd(0x8825)[1] = "N"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for image_format in ("JPEG", "PNG"):
            content = picture(image_format, exif=exif, icc_profile=profile, comment=b"secret")
            assert b"Camera of Ada" in content
            shown = made(content, image_format, "width", 100)
            assert not shown.getexif()
            assert set(shown.info) <= {
                "jfif",
                "jfif_version",
                "jfif_unit",
                "jfif_density",
                "progressive",
                "progression",
            }

    def test_keep_what_shines_through_and_are_small_where_nothing_does(self) -> None:
        clear = io.BytesIO()
        Image.new("RGBA", (100, 100), (255, 0, 0, 100)).save(clear, "PNG")
        assert made(clear.getvalue(), "PNG", "width", 50).format == "PNG"
        assert made(picture(mode="RGBA"), "PNG", "width", 50).format == "JPEG"

    @pytest.mark.parametrize("profile", [b"nonsense", b"\x00" * 500, b"x" * 900_000])
    def test_are_made_whatever_the_colour_profile_says(self, profile: bytes) -> None:
        assert made(picture(icc_profile=profile), "PNG", "width", 50).size == (50, 25)

    def test_of_a_film_show_its_first_picture(self) -> None:
        kept = io.BytesIO()
        frames = [Image.new("RGB", (100, 100), colour) for colour in ("red", "blue", "green")]
        frames[0].save(kept, "GIF", save_all=True, append_images=frames[1:])
        shown = made(kept.getvalue(), "GIF", "width", 50).convert("RGB").getpixel((25, 25))
        assert isinstance(shown, tuple)
        assert shown[0] > 200

    def test_come_from_the_process_as_they_come_from_here(self, tmp_path: Path) -> None:
        content = picture(size=(800, 400))
        with file_of(content, tmp_path) as file:
            made_there = Pictures(MOST).make(file, "image/png", Variant.SMALL)
        assert made_there is not None
        with made_there:
            assert Image.open(made_there).size == (320, 160)
        with file_of(b"nonsense", tmp_path) as file:
            assert Pictures(MOST).make(file, "image/png", Variant.SMALL) is None


def test_the_decoder_knows_nothing_of_mushu() -> None:
    source = Path(decoder.__file__).read_text()
    assert "mushu" not in source.replace("Mushu", "")
    assert set(PICTURES.values()) == set(TYPES)
