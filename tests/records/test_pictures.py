"""Pictures: what is refused before decoding, what is put right, and that no error has two lines or a path."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

import config
from records.pictures import (
    ANIMATED_NOTE,
    ImageError,
    check_image_size,
    image_hash,
    open_image,
)
from tests.inputs.pictures import TURNS

# 23 x 14 pixels: never square, so that no swap of sides can pass.
WIDTH, HEIGHT = 23, 14


def gradient(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """Return a picture whose red grows with x and green with y, and whose blue alternates."""
    rows, cols = np.mgrid[:height, :width]
    pixels = np.stack(
        [cols * 255 // (width - 1), rows * 255 // (height - 1), (rows + cols) % 2 * 90], axis=-1
    )
    return Image.fromarray(pixels.astype(np.uint8))


def saved(image: Image.Image, image_format: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    file.seek(0)
    return file


def refused(source: object, tmp_path: Path) -> str:
    """Return the error of opening a file of these bytes, checked to be one line without a path."""
    path = tmp_path / "secret folder" / "name.png"
    path.parent.mkdir(exist_ok=True)
    if isinstance(source, io.BytesIO):
        path.write_bytes(source.getvalue())
    elif isinstance(source, bytes):
        path.write_bytes(source)
    messages = []
    for opened in (path, str(path), io.BytesIO(path.read_bytes()) if path.is_file() else path):
        with pytest.raises(ImageError) as error:
            open_image(opened)
        messages.append(str(error.value))
    assert messages[0] == messages[1] == messages[2]
    message = messages[0]
    assert "\n" not in message
    assert len(message) < 160
    assert not any(word in message for word in ("secret", "name.png", str(tmp_path), "0x", "BytesIO", "/"))
    return message


# --- What is refused ----------------------------------------------------------------------------------------


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """Return a valid one-bit PNG of so many black pixels: thousands of times smaller than its pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(12_000, 12_001), (20_000, 20_001), (40_000, 25_001)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    """Below, between and above the two thresholds at which Pillow itself warns and refuses."""
    data = bomb(width, height)
    assert len(data) < 150_000
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("the picture was decoded"))
    exactly = (
        f"The picture has {width * height:,} pixels ({width} x {height}); at most 100,000,000 are allowed."
    )
    assert refused(data, tmp_path) in (exactly, "The picture has more than 100,000,000 pixels.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # as it is outside tests
        if width * height < 10**9:
            assert refused(data, tmp_path) == exactly


def test_a_large_picture_is_scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(gradient())
    monkeypatch.setattr(config, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT)
    assert open_image(file).size == (WIDTH, HEIGHT)
    monkeypatch.setattr(config, "MAX_IMAGE_PIXELS", 100)
    found = open_image(file)
    assert found.size == (12, 8)  # of 23 x 14
    np.testing.assert_array_equal(
        np.asarray(found), np.asarray(gradient().resize((12, 8), Image.Resampling.LANCZOS))
    )
    assert found.info["note"] == "It is large, 23 x 14 pixels, and scaled down to 12 x 8."


def test_what_is_too_large_to_decode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MAX_DECODED_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(
        ImageError, match=r"^The picture has 322 pixels \(23 x 14\); at most 321 are allowed\.$"
    ):
        open_image(saved(gradient()))


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = gradient(480, 640)
    monkeypatch.setattr(config, "MAX_DECODED_PIXELS", 640 * 480 // 5)
    found = open_image(saved(picture, "JPEG", quality=95))
    assert found.size == (160, 120)
    assert found.info["note"] == "It is large, 640 x 480 pixels, and scaled down to 160 x 120."
    expected = np.asarray(picture.resize((160, 120), Image.Resampling.BOX), np.int64)
    assert np.abs(np.asarray(found, np.int64) - expected).max() <= 8
    assert open_image(saved(gradient(481, 641), "JPEG")).size == (161, 121)  # of odd sides too
    turned = open_image(saved(picture, "JPEG", exif=rotated()))
    assert turned.info["note"] == "It is large, 480 x 640 pixels, and scaled down to 120 x 160."
    monkeypatch.setattr(config, "MAX_IMAGE_PIXELS", 1200)
    assert open_image(saved(picture, "JPEG")).size == (40, 30)
    assert open_image(saved(gradient(20, 600), "JPEG")).size == (171, 7)  # no narrower than it was
    with pytest.raises(ImageError, match="at most 61,440 are allowed"):
        open_image(saved(picture, "JPEG", progressive=True))
    with pytest.raises(ImageError, match="at most 1,200 are allowed"):  # more than 8 bits are not scaled
        open_image(saved(Image.fromarray(np.arange(60_000, dtype=np.uint16).reshape(200, 300))))


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF", "JPEG2000"])
def test_formats_of_phones_and_browsers_are_read(image_format: str, tmp_path: Path) -> None:
    picture = gradient(8, 12).resize((96, 64), Image.Resampling.BICUBIC)  # colours are kept at half the size
    data = saved(picture, image_format, quality=95).getvalue()
    found = open_image(io.BytesIO(data))
    assert (found.mode, found.size) == ("RGB", (96, 64))
    difference = np.abs(np.asarray(found, np.int64) - np.asarray(picture, np.int64))
    assert difference.mean() < 4
    assert refused(data[: len(data) // 3], tmp_path)


@pytest.mark.parametrize(
    ("image_format", "kept"),
    [("PNG", 0.5), ("JPEG", 0.5), ("WEBP", 0.5), ("GIF", 0.5), ("BMP", 0.5), ("TIFF", 0.4), ("PNG", 0.95)],
)
def test_a_truncated_picture_is_refused(tmp_path: Path, image_format: str, kept: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    data = saved(noise, image_format).getvalue()
    message = refused(data[: int(len(data) * kept)], tmp_path)
    assert message in (
        "The picture file is damaged or incomplete.",
        "The file is not a picture in a format that is read: PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, "
        "JPEG2000.",
    )


def test_damaged_pixels_are_refused(tmp_path: Path) -> None:
    data = bytearray(saved(gradient(), "PNG").getvalue())
    data[60:70] = bytes(10)
    assert refused(bytes(data), tmp_path) == "The picture file is damaged or incomplete."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        bytes(1000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 70\n",
        b"P6 23 14 255\n" + bytes(23 * 14 * 3),
    ],
)
def test_what_is_no_picture_of_an_allowed_format_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(content, tmp_path).startswith(
        "The file is not a picture in a format that is read: PNG, JPEG"
    )


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match=r"^There is no such picture file\.$"):
            open_image(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="no such picture file"):
        open_image(tmp_path / "pipe.png")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(gradient()).getvalue())

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ImageError, match=r"^The picture file may not be read\.$"):
        open_image(path)


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 200), (200, 7), (1, 40)])
def test_a_picture_too_small_is_refused(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    message = refused(saved(Image.new("RGB", size_wh)), tmp_path)
    assert message == (
        f"The picture is too small ({size_wh[0]} x {size_wh[1]}); each side needs at least 8 pixels."
    )


@pytest.mark.parametrize("size_wh", [(241, 8), (8, 241), (2000, 20)])
def test_an_extreme_aspect_ratio_is_refused(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    message = refused(saved(Image.new("RGB", size_wh)), tmp_path)
    assert message == (
        f"The picture is too narrow ({size_wh[0]} x {size_wh[1]}); "
        "the longer side may be at most 30 times the shorter."
    )


def test_sizes_at_the_bounds_are_allowed() -> None:
    for size_wh in [(8, 8), (8, 240), (240, 8), (8000, 5000)]:
        check_image_size(size_wh)


def test_running_out_of_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: object) -> None:
        raise MemoryError

    file = saved(gradient())
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", exhausted)
    with pytest.raises(ImageError, match=r"^There is not enough memory to open the picture\.$"):
        open_image(file)


# --- What is put right --------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_a_lossless_picture_comes_back_pixel_for_pixel(tmp_path: Path, image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    path = tmp_path / "a.bin"
    path.write_bytes(saved(gradient(), image_format, **options).getvalue())
    for source in (path, str(path), path.open("rb")):
        image = open_image(source)
        assert image.mode == "RGB"
        assert image.info == {}
        assert np.array_equal(np.array(image), np.array(gradient()))
        if hasattr(source, "close") and not isinstance(source, (str, Path)):
            source.close()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_laid_on_white(mode: str) -> None:
    channels = slice(-len(mode), None)
    hidden = Image.new(mode, (WIDTH, HEIGHT), (10, 20, 30, 0)[channels])
    hidden.paste((40, 50, 60, 255)[channels], (0, 0, 11, HEIGHT))
    hidden.paste((0, 0, 0, 128)[channels], (11, 0, 15, HEIGHT))
    pixels = np.array(open_image(saved(hidden)))
    assert tuple(pixels[5, 20]) == (255, 255, 255)
    assert tuple(pixels[5, 3]) == ((40, 50, 60) if mode == "RGBA" else (60, 60, 60))
    assert np.abs(pixels[5, 12].astype(int) - 127).max() <= 1


def test_a_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([200, 0, 0, 0, 90, 0])
    image.paste(1, (11, 0, WIDTH, HEIGHT))
    pixels = np.array(open_image(saved(image, transparency=0)))
    assert tuple(pixels[5, 3]) == (255, 255, 255)
    assert tuple(pixels[5, 20]) == (0, 90, 0)


def test_a_transparent_colour_of_an_rgb_picture_is_laid_on_white() -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3))
    image.paste((9, 8, 7), (11, 0, WIDTH, HEIGHT))
    pixels = np.array(open_image(saved(image, transparency=(1, 2, 3))))
    assert tuple(pixels[5, 3]) == (255, 255, 255)
    assert tuple(pixels[5, 20]) == (9, 8, 7)


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_palette_grey_and_bilevel_pictures_convert(mode: str) -> None:
    image = gradient().convert(mode)
    opened = open_image(saved(image))
    assert opened.mode == "RGB"
    assert np.array_equal(np.array(opened), np.array(image.convert("RGB")))


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_converts(image_format: str) -> None:
    red = Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0))
    pixels = np.array(open_image(saved(red, image_format)))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame_and_says_so(image_format: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if image_format == "WEBP" else {}
    file = saved(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    assert len(list(ImageSequence.Iterator(Image.open(file)))) == 3
    image = open_image(file)
    assert image.info["note"] == ANIMATED_NOTE
    assert np.array_equal(np.array(image), np.array(frames[0]))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_exif_rotation_is_applied_once(tmp_path: Path, orientation: int, image_format: str) -> None:
    upright = gradient()
    turn = TURNS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_image(saved(stored, image_format, exif=exif))
    assert opened.size == (WIDTH, HEIGHT)
    assert np.array_equal(np.array(opened), np.array(upright))
    again = tmp_path / "again.png"
    opened.save(again)
    assert np.array_equal(np.array(open_image(again)), np.array(upright))


def test_a_large_jpeg_of_a_camera_opens() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_image(saved(gradient(300, 500), "JPEG", exif=exif, quality=95))
    assert opened.size == (300, 500)
    pixels = np.array(opened).astype(int)
    assert pixels[5, 5, 1] > 240  # stored at the bottom left, where green is highest; shown at the top left
    assert pixels[-5, 5, 0] > 240


# --- Hashes -----------------------------------------------------------------------------------------------


def test_the_hash_is_of_the_pixels_and_not_of_the_file() -> None:
    image = gradient()
    same = [open_image(saved(image, name)) for name in ("PNG", "BMP", "TIFF")]
    assert {image_hash(picture) for picture in [image, *same]} == {image_hash(image)}
    changed = image.copy()
    changed.putpixel((5, 3), (0, 0, 1))
    others = [changed, image.transpose(Image.Transpose.ROTATE_180), image.resize((HEIGHT, WIDTH))]
    flat = Image.frombytes("RGB", (HEIGHT, WIDTH), image.tobytes())  # the same bytes in another shape
    assert len({image_hash(picture) for picture in [image, flat, *others]}) == 5
