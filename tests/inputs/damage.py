"""Files that are no whole picture: cut off, changed, made to burst, or no picture at all.

Comes out: bytes, with a name and what is allowed to become of them.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.inputs.pictures import FINE, LOSSLESS, Picture, every_format, saved, scene

TENTHS = range(10)
BOMB = 60_000  # pixels of each side that a header claims
WHOLE_BOMB = (  # 12,000 x 12,000 pixels, all of one colour, as libwebp packs them
    "524946461e000000574542505650384c110000002fdfeeb70b07d0831ef4a0ff8188e87f0000"
)
BROKEN_TOO = ("WEBP", "WEBP of 2**24")  # whose claim is read together with more, which is missing


def cut_off() -> Iterator[tuple[Picture, bytes, bytes]]:
    """Yield each whole picture with its first tenths, and the same under the whole's last byte."""
    for whole in every_format():
        if whole.shows is not None:
            for tenth in TENTHS:
                yield whole, whole.data[: len(whole.data) * tenth // 10], whole.data
            yield whole, whole.data[:-1], whole.data


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a part of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *extra: bytes, depth: int = 8, colours: int = 2, rows: bytes = b"") -> bytes:
    """Return a PNG whose header claims these; `rows` are its pixels, packed, `extra` parts before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    pixels = chunk(b"IDAT", rows or zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + chunk(b"IEND", b"")


def packed_rows(picture: Image.Image) -> bytes:
    """Return the pixels of a picture in RGB as a PNG has them."""
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in np.asarray(picture)))


def rows_of_scene() -> bytes:
    """Return the scene's pixels as a PNG has them."""
    return packed_rows(Image.fromarray(scene()))


def headers() -> Iterator[tuple[str, bytes]]:
    """Yield files whose headers claim more pixels than are decoded, in every format with such a header."""
    side, little = BOMB, struct.pack("<HH", BOMB, BOMB)
    yield "PNG", png(side, side)
    yield "PNG of 2**31", png(2**31 - 1, 2**31 - 1)
    yield "PNG one bit", png(side, side, depth=1, colours=0)
    yield "PNG 16 bits", png(side, side, depth=16)
    small = {
        name: saved(Image.fromarray(scene()), name, **LOSSLESS.get(name, {}))
        for name in ("BMP", "JPEG", "JPEG2000")
    }
    gif = bytearray(saved(Image.fromarray(scene()).quantize(64), "GIF"))
    yield "GIF screen", bytes(gif[:6] + little + gif[10:])
    at = gif.index(b",", 13 + 3 * 64)
    yield "GIF frame", bytes(gif[: at + 5] + little + gif[at + 9 :])
    bmp = small["BMP"]
    yield "BMP", bmp[:18] + struct.pack("<ii", side, side) + bmp[26:]
    yield "BMP below zero", bmp[:18] + struct.pack("<ii", side, -side) + bmp[26:]
    jpeg = small["JPEG"]
    start = jpeg.index(b"\xff\xc0") + 5
    yield "JPEG", jpeg[:start] + struct.pack(">HH", side, side) + jpeg[start + 4 :]
    yield "TIFF", tiff_claiming(side, side)
    yield "TIFF of 2**32", tiff_claiming(2**32 - 1, 2**32 - 1)
    codestream = saved(Image.fromarray(scene()), "JPEG2000", no_jp2=True)
    yield "JPEG2000", claimed(small["JPEG2000"], b"ihdr", 4, ">II", side)
    yield "JPEG2000 codestream", claimed(codestream, b"\xff\x51", 6, ">II", side)
    for name in ("AVIF", "HEIF"):
        data = saved(Image.fromarray(scene()), name, **FINE[name])
        yield name, claimed(data, b"ispe", 8, ">II", side)
    yield "WEBP, whole", bytes.fromhex(WHOLE_BOMB)
    webp = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4)
    yield "WEBP", webp + (16_383).to_bytes(3, "little") * 2
    yield "WEBP of 2**24", webp + (2**24 - 1).to_bytes(3, "little") * 2


def claimed(data: bytes, mark: bytes, after: int, form: str, side: int) -> bytes:
    """Return a file with another size at so many bytes after the start of a mark."""
    at = data.index(mark) + after
    size = struct.calcsize(form)
    return data[:at] + struct.pack(form, side, side) + data[at + size :]


def tiff_claiming(width: int, height: int, **other: int) -> bytes:
    """Return a TIFF without its pixels, whose tags claim a size; `other` are tags as t258=16."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 100}
    tags |= {int(name[1:]): value for name, value in other.items()}
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + listed + bytes(4)


def bursting() -> Iterator[tuple[str, bytes, bool]]:
    """Yield small files with parts that unpack to hundreds of megabytes; whether the picture may be seen."""
    much = zlib.compress(bytes(300_000_000), 9)
    rows = rows_of_scene()
    height, width = scene().shape[:2]
    for name, part in {
        "zTXt": chunk(b"zTXt", b"Comment\0\0" + much),
        "iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + much),
        "iCCP": chunk(b"iCCP", b"profile\0\0" + much),
        "tEXt": chunk(b"tEXt", b"Comment\0" + b"x" * 5_000_000),
        "eXIf": chunk(b"eXIf", b"II" + bytes(1_000_000)),
    }.items():
        yield f"PNG {name}", png(width, height, part, rows=rows), True
    yield "PNG pixels beyond its size", png(width, height, rows=much), False
    texts = [chunk(b"zTXt", b"a%d\0\0" % number + zlib.compress(bytes(1_000_000))) for number in range(200)]
    yield "PNG many texts", png(width, height, *texts, rows=rows), True


def looping() -> Iterator[tuple[str, bytes]]:
    """Yield files that lead round in circles, or claim frames and values without end."""
    one = saved(Image.fromarray(scene()), "TIFF")
    at = struct.unpack("<I", one[4:8])[0]
    count = struct.unpack("<H", one[at : at + 2])[0]
    end = at + 2 + 12 * count
    yield "TIFF whose next page is itself", one[:end] + struct.pack("<I", at) + one[end + 4 :]
    for tag, kind, number in ((273, 4, 2**30), (270, 2, 2**31 - 1), (320, 3, 2**29), (34675, 7, 2**31 - 1)):
        entry = struct.pack("<HHII", tag, kind, number, 8)
        head = struct.pack("<2sHI", b"II", 42, 8)
        tags = tiff_claiming(40, 24)[10:-4]
        kept = b"".join(
            tags[i : i + 12]
            for i in range(0, len(tags), 12)
            if struct.unpack("<H", tags[i : i + 2])[0] != tag
        )
        yield (
            f"TIFF tag {tag} of {number:,} values",
            head + struct.pack("<H", len(kept) // 12 + 1) + kept + entry + bytes(4),
        )
    frames = struct.pack(">II", 2**31 - 1, 0)
    yield "PNG of 2**31 frames", png(40, 24, chunk(b"acTL", frames), rows=rows_of_scene())
    yield "PNG of no frames", png(40, 24, chunk(b"acTL", bytes(8)), rows=rows_of_scene())
    yield "PNG parts out of order", png(40, 24, chunk(b"IEND", b""), rows=rows_of_scene())


def no_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield files that are no pictures, some with the beginning of one."""
    texts = {
        "nothing": b"",
        "text": b"hello\n",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "HTML": b"<!DOCTYPE html><title>404</title>",
        "PDF": b"%PDF-1.7\n",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 70\n",
        "zeros": bytes(5000),
        "ZIP": b"PK\x03\x04" + bytes(100),
        "MP4": b"\0\0\0\x18ftypmp42" + bytes(100),
        "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
        "JSON": b'{"path": "data:image/png;base64,AAAA"}',
        "data URL": b"data:image/png;base64,iVBORw0KGgo=",
        "NumPy": npy(),
        "noise": np.random.default_rng(0).bytes(5000),
    }
    yield from texts.items()
    for image_format, start in {
        "PNG": b"\x89PNG\r\n\x1a\n",
        "JPEG": b"\xff\xd8\xff\xe0",
        "GIF": b"GIF89a",
        "BMP": b"BM",
        "TIFF": b"II*\0",
        "big TIFF": b"MM\0+",
        "WEBP": b"RIFF\0\0\0\0WEBP",
        "AVIF": b"\0\0\0\x1cftypavif",
        "HEIF": b"\0\0\0\x18ftypheic",
        "JPEG2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "codestream": b"\xff\x4f\xff\x51",
    }.items():
        for rest, name in (
            (b"", "alone"),
            (bytes(64), "zeros"),
            (b"\xff" * 64, "ones"),
            (b"text " * 20, "text"),
        ):
            yield f"{image_format} start, {name}", start + rest


def npy() -> bytes:
    """Return the scene as NumPy's own file."""
    file = io.BytesIO()
    np.save(file, scene())
    return file.getvalue()
