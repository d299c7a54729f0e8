"""Pictures whose values are no 8-bit shades: each kind of file has the right pixels.

Files are written here byte by byte. The oracle is exact: fractions, rounded to the nearest shade.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from records.pictures import ImageError, image_hash, open_image, rgb

WIDTH, HEIGHT = 23, 14  # never square, so that no swap of sides can pass
TWELVE_BITS = 4095
COUNT = WIDTH * HEIGHT

Values = NDArray[Any]
Order = Literal["<", ">"]  # of the bytes of a number: lowest first, highest first


def ramp(low: float, high: float, dtype: type = np.uint16, channels: int = 1) -> Values:
    """Return values from low to high, shuffled: (row, col), or (row, col, channel)."""
    values: Values = np.linspace(low, high, COUNT * channels).astype(dtype)
    mixed = np.random.default_rng(0).permutation(values)
    return mixed.reshape((HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels))


def spread(values: Values, low: float | None = None, high: float | None = None) -> NDArray[np.uint8]:
    """Return the nearest shades: 0 for the lowest value, 255 for the highest."""
    bottom, top = (Fraction(end.item()) for end in (values.min(), values.max()))
    bottom, top = (bottom if low is None else Fraction(low)), (top if high is None else Fraction(high))
    shades = [round((Fraction(value.item()) - bottom) * 255 / (top - bottom)) for value in values.ravel()]
    return np.array(shades, dtype=np.uint8).reshape(values.shape)


def grey(shades: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return shades (row, col) as (row, col, rgb)."""
    return np.repeat(shades[..., None], 3, axis=-1)


def png(values: Values, transparent: Sequence[int] = (), orientation: int = 1) -> io.BytesIO:
    """Return a 16-bit PNG of one (grey), two (with opacity), three (RGB) or four (RGBA) channels."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[1 if values.ndim == 2 else values.shape[2]]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    exif = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2").reshape(len(values), -1))
    content = chunk(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], len(values), 16, kind, 0, 0, 0))
    content += chunk(b"eXIf", exif) if orientation != 1 else b""
    content += chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    return io.BytesIO(
        b"\x89PNG\r\n\x1a\n" + content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def tiff(values: Values, order: Order = "<", **tags: Any) -> io.BytesIO:
    """Return a TIFF, its pixels packed with t259=8; other `tags` are a number or numbers, as t262=0."""
    kinds = {"u": 1, "i": 2, "f": 3}
    channels = 1 if values.ndim == 2 else values.shape[2]
    listed: dict[int, list[int]] = {
        256: [values.shape[1]],
        257: [len(values)],
        258: [values.dtype.itemsize * 8] * channels,
        259: [1],
        262: [1 if channels == 1 else 2],
        273: [0],
        277: [channels],
        278: [len(values)],
        339: [kinds[values.dtype.kind]] * channels,
    }
    for name, value in tags.items():
        listed[int(name[1:])] = [value] if isinstance(value, int) else list(value)
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()
    pixels = zlib.compress(pixels) if listed[259] == [8] else pixels
    listed[279] = [len(pixels)]
    end = 8 + 2 + 12 * len(listed) + 4
    long = b""
    fields = b""
    listed[273] = [end + sum(2 * len(some) for some in listed.values() if len(some) > 2)]
    for tag, some in sorted(listed.items()):
        wide = tag in (256, 257, 273, 278, 279)
        packed = struct.pack(f"{order}{len(some)}{'I' if wide else 'H'}", *some)
        fields += struct.pack(f"{order}HHI", tag, 4 if wide else 3, len(some))
        fields += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", end + len(long))
        long += packed if len(packed) > 4 else b""
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return io.BytesIO(start + struct.pack(f"{order}H", len(listed)) + fields + bytes(4) + long + pixels)


def note(low: str, high: str) -> str:
    return f"Its values run from {low} to {high}: they are spread over all shades from black to white."


ORDERS = pytest.mark.parametrize("order", ["<", ">"])


# --- Greys --------------------------------------------------------------------------------------------------


def test_a_twelve_bit_grey_picture_in_sixteen_bits_is_not_black() -> None:
    values = ramp(11, TWELVE_BITS)
    image = open_image(png(values))
    assert np.array_equal(np.array(image), grey(spread(values)))
    assert image.info == {"note": note("11", "4,095")}


@ORDERS
@pytest.mark.parametrize(
    ("values", "told"),
    [
        (ramp(11, TWELVE_BITS), ("11", "4,095")),
        (ramp(30_000, 65_535), ("30,000", "65,535")),
        (ramp(0, 50_000), ("0", "50,000")),
        (ramp(-1024, 3071, np.int16), ("-1,024", "3,071")),  # Hounsfield units
        (ramp(-32_768, 32_767, np.int16), ("-32,768", "32,767")),
        (ramp(-2_000_000_000, 2_000_000_000, np.int32), ("-2,000,000,000", "2,000,000,000")),
        (ramp(5, 70_000, np.int32), ("5", "70,000")),
        (ramp(-0.25, 0.75, np.float32), ("-0.25", "0.75")),
        (ramp(0, 1, np.float32), ("0", "1")),
        (ramp(-100, 90, np.int8), ("-100", "90")),
    ],
)
def test_greys_of_every_type_are_spread(values: Values, told: tuple[str, str], order: Order) -> None:
    image = open_image(tiff(values, order))
    assert np.array_equal(np.array(image), grey(spread(values)))
    assert image.info == {"note": note(*told)}


@ORDERS
@pytest.mark.parametrize(
    "values",
    [
        ramp(11, TWELVE_BITS),
        ramp(11, TWELVE_BITS, channels=3),
        ramp(-1024, 3071, np.int16),
        ramp(5, 70_000, np.int32),
        ramp(-0.25, 0.75, np.float32),
    ],
)
def test_a_packed_tiff_has_the_same_values(values: Values, order: Order) -> None:
    plain, packed = open_image(tiff(values, order)), open_image(tiff(values, order, t259=8))
    assert np.array_equal(np.array(plain), np.array(packed))
    assert packed.info == plain.info


def test_unsigned_32_bits_are_not_taken_for_negative() -> None:
    values = ramp(1_000_000_000, 4_000_000_000, np.uint32)
    for kind in (1, ()):  # without a kind of number they are unsigned
        image = open_image(tiff(values, t339=kind))
        assert np.array_equal(np.array(image), grey(spread(values)))


@pytest.mark.parametrize("values", [ramp(11, TWELVE_BITS), ramp(-0.25, 0.75, np.float32)])
def test_a_tiff_whose_zero_is_white_is_turned_round(values: Values) -> None:
    assert np.array_equal(
        np.array(open_image(tiff(values, t262=0))), grey(spread(-values.astype(np.float64)))
    )


@pytest.mark.parametrize("make", [png, tiff])
def test_sixteen_bits_that_reach_from_black_to_white_keep_their_scale(make: Any) -> None:
    for low, high in ((0, 65_535), (100, 65_420)):  # black and white once they are 8 bits
        values = ramp(low, high)
        image = open_image(make(values))
        assert np.array_equal(np.array(image), grey(spread(values, 0, 65_535)))
        assert image.info == {}


def test_big_endian_sixteen_bits_in_memory() -> None:
    values = ramp(0, 65_535).astype(">u2")
    image = Image.frombytes("I;16B", (WIDTH, HEIGHT), values.tobytes())
    assert np.array_equal(np.array(rgb(image)), grey(spread(values)))


@pytest.mark.parametrize("value", [0, 4095, 65_535])
def test_one_sixteen_bit_grey_everywhere_keeps_its_scale(value: int) -> None:
    values = np.full((HEIGHT, WIDTH), value, np.uint16)
    for image in (open_image(png(values)), open_image(tiff(values))):
        assert np.array_equal(np.array(image), grey(spread(values, 0, 65_535)))
        assert image.info == {}


@pytest.mark.parametrize("value", [-7, 0.5, 1e30])
def test_one_value_without_a_scale_is_mid_grey_and_said(value: float) -> None:
    dtype = np.int32 if isinstance(value, int) else np.float32
    image = open_image(tiff(np.full((HEIGHT, WIDTH), value, dtype)))
    assert (np.array(image) == 128).all()
    assert image.info == {"note": f"All its values are {value:.4g}: it is shown as one grey."}


def test_places_without_a_number_do_not_count() -> None:
    values = ramp(-2, 6, np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    expected = np.zeros_like(values, dtype=np.uint8)
    finite = np.isfinite(values)
    expected[finite] = spread(values[finite])
    expected[0, :3] = 0, 255, 0
    image = open_image(tiff(values))
    assert np.array_equal(np.array(image), grey(expected))
    low, high = (f"{end:.4g}" for end in (values[finite].min(), values[finite].max()))
    assert image.info == {"note": f"{note(low, high)} Places without a finite value are black or white."}


def test_a_picture_without_a_number_is_refused() -> None:
    with pytest.raises(ImageError, match=r"^The picture has no finite value\.$"):
        open_image(tiff(np.full((HEIGHT, WIDTH), np.nan, np.float32)))


def test_the_widest_floats_do_not_overflow() -> None:
    values = ramp(-3e38, 3e38, np.float32)
    assert np.abs(np.array(open_image(tiff(values))).astype(int) - grey(spread(values))).max() <= 1


# --- Colours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_of_twelve_bits_are_upright_and_share_one_range(orientation: int) -> None:
    """The test of orientations below stands on Pillow's own turn of the same bytes in 8 bits."""
    values = ramp(7, TWELVE_BITS, channels=3)
    plain = Image.fromarray((values >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    plain.save(file, "PNG", exif=exif)
    turned = np.array(open_image(file))
    for stored in (png(values, orientation=orientation), tiff(values, t274=orientation)):
        image = open_image(stored)
        assert image.info == {"note": note("7", "4,095")}
        pixels = np.array(image)
        assert pixels.shape == turned.shape
        # A shade and its high byte belong together: the same turn, whichever reader made it.
        pairs = {(int(high), int(shade)) for high, shade in zip(turned.ravel(), pixels.ravel(), strict=True)}
        known = {(int(v) >> 8, int(s)) for v, s in zip(values.ravel(), spread(values).ravel(), strict=True)}
        assert pairs == known
        if orientation == 1:
            assert np.array_equal(pixels, spread(values))


@ORDERS
def test_colours_of_sixteen_bits(order: Order) -> None:
    narrow = ramp(20_000, 40_000, channels=3)
    assert np.array_equal(np.array(open_image(tiff(narrow, order))), spread(narrow))
    assert np.array_equal(np.array(open_image(png(narrow))), spread(narrow))
    full = ramp(0, 65_535, channels=3)
    for image in (open_image(tiff(full, order)), open_image(png(full))):
        assert np.array_equal(np.array(image), full >> 8)  # as ever
        assert image.info == {}


@pytest.mark.parametrize("channels", [2, 4])
def test_opacity_stays_and_hidden_values_do_not_count(channels: int) -> None:
    values = ramp(100, TWELVE_BITS, channels=channels)
    opaque = np.full((HEIGHT, WIDTH), 65_535)
    opaque[:, :9] = 0
    values[:, :9, 0] = 65_535  # hidden
    values[..., -1] = opaque
    seen = values[:, 9:, :-1]
    image = open_image(png(values))
    pixels = np.array(image)
    assert (pixels[:, :9] == 255).all()
    assert np.array_equal(pixels[:, 9:], np.broadcast_to(spread(seen), (HEIGHT, WIDTH - 9, 3)))
    assert image.info == {"note": note(f"{seen.min():,}", f"{seen.max():,}")}


def test_half_transparent_colours_of_twelve_bits_lie_on_white() -> None:
    values = np.concatenate([ramp(0, TWELVE_BITS, channels=3), np.full((HEIGHT, WIDTH, 1), 32_896)], axis=-1)
    colours = spread(values[..., :3]).astype(float)
    expected = 255 - (255 - colours) * 128 / 255  # 32896 is 128 of 255
    for file in (png(values), tiff(values.astype(np.uint16), t338=2)):
        assert np.abs(np.array(open_image(file)) - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_sixteen_bits_is_exact(channels: int) -> None:
    """Another colour with the same high bytes stays."""
    values = ramp(300, TWELVE_BITS, channels=channels)
    hidden, close = (2000, 2001) if channels == 1 else ((2000, 3000, 600), (2000, 3000, 601))
    values[4, 5], values[4, 6] = hidden, close
    pixels = np.array(open_image(png(values, np.atleast_1d(hidden).tolist())))
    counted = values.reshape(COUNT, -1)
    counted = counted[(counted != np.atleast_1d(hidden)).any(axis=1)]
    expected = spread(values, int(counted.min()), int(counted.max()))
    expected = grey(expected) if channels == 1 else expected
    same = (values.reshape(COUNT, -1) == np.atleast_1d(hidden)).all(axis=1).reshape(HEIGHT, WIDTH)
    assert (pixels[same] == 255).all()
    assert np.array_equal(pixels[~same], expected[~same])
    assert not same[4, 6]


def test_colours_that_no_reader_agrees_on_are_refused() -> None:
    """Colours multiplied by their opacity: Pillow divides them again, in 8 bits."""
    values = ramp(100, 20_000, channels=4)
    values[..., 3] = 40_000
    with pytest.raises(
        ImageError, match=r"^The picture's 16-bit colours cannot be read; save it with 8 bits a"
    ):
        open_image(tiff(values, t338=1))


# --- Palettes -----------------------------------------------------------------------------------------------


def palette_tiff(colours: Values, order: Order = "<") -> tuple[io.BytesIO, Values]:
    """Return a TIFF with a palette (256, 3) of 16 bits, and its values (row, col, rgb)."""
    numbers = ramp(0, 255, np.uint8)
    file = tiff(numbers, order, t262=3, t320=colours.T.ravel().tolist())
    return file, colours[numbers]


@ORDERS
@pytest.mark.parametrize("top", [255, TWELVE_BITS])
def test_a_palette_of_few_values_is_spread(order: Order, top: int) -> None:
    """Twelve bits, and the 8 bits that some programs write there."""
    greys = np.repeat(np.linspace(3, top, 256).astype(np.uint16)[:, None], 3, axis=1)
    file, values = palette_tiff(greys, order)
    image = open_image(file)
    assert np.array_equal(np.array(image), spread(values))
    assert image.info == {"note": note("3", f"{top:,}")}


@pytest.mark.parametrize("step", [256, 257])
def test_a_palette_of_8_bit_colours_is_untouched(step: int) -> None:
    dark = np.random.default_rng(1).integers(0, 60, (256, 3)).astype(np.uint16)
    image = open_image(palette_tiff(dark * step)[0])
    assert np.array_equal(np.array(image), dark[ramp(0, 255, np.uint8)])
    assert image.info == {}


def test_a_palette_from_black_to_white_keeps_its_scale() -> None:
    greys = np.repeat(np.linspace(0, 65_535, 256).astype(np.uint16)[:, None] | 1, 3, axis=1)
    file, values = palette_tiff(greys)
    image = open_image(file)
    assert np.array_equal(np.array(image), values >> 8)
    assert image.info == {}


# --- What stays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "LA", "RGBA"])
def test_pictures_of_8_bits_are_untouched_however_dark(mode: str) -> None:
    dark = np.random.default_rng(2).integers(3, 40, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    image = Image.fromarray(dark).convert(mode)
    for name in ("PNG", "TIFF"):
        file = io.BytesIO()
        image.save(file, name)
        opened = open_image(file)
        assert np.array_equal(np.array(opened), np.array(image.convert("RGB")))
        assert opened.info == {}


def test_the_hash_is_of_the_pixels_that_are_shown() -> None:
    values = ramp(11, TWELVE_BITS)
    shown = open_image(png(values))
    assert image_hash(shown) == image_hash(Image.fromarray(grey(spread(values))))
    assert image_hash(Image.fromarray(values)) == image_hash(shown)  # in memory, as in a notebook
    plain = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    # sha256("2x2:" and the bytes 0 to 11): answers that are kept are found by it
    assert image_hash(plain) == "39c87a375c33eb76b8f08abc7ad60d62577e8a74a559b6c36914724df3f59862"
