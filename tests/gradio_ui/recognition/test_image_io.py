"""Every kind of picture comes out as it is meant to be seen; everything else as one clear sentence."""

import io

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition import ImageError, read_image
from gradio_ui.recognition.image_io import MAX_PIXELS, read_reduced


@pytest.fixture(scope="module")
def face(portrait: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(portrait[60:190, 150:290])


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("file_format", "mode", "tolerance"),
    [
        ("PNG", "RGB", 0),
        ("BMP", "RGB", 0),
        ("TIFF", "RGB", 0),
        ("PNG", "RGBA", 0),
        ("TIFF", "CMYK", 1),
        ("JPEG", "RGB", 6),
        ("JPEG", "CMYK", 6),
        ("WEBP", "RGB", 6),
        ("GIF", "RGB", 6),
        ("MPO", "RGB", 6),  # what phones call JPEG
    ],
)
def test_colors_survive_every_format(face: np.ndarray, file_format: str, mode: str, tolerance: float) -> None:
    got = read_image(encode(Image.fromarray(face).convert(mode), file_format))
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert got.shape == face.shape
    assert np.abs(got.astype(int) - face).mean() <= tolerance


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(face: np.ndarray, file_format: str) -> None:
    gray = np.asarray(Image.fromarray(face).convert("L"))
    got = read_image(encode(Image.fromarray(gray.astype(np.uint16) * 257), file_format))
    assert np.array_equal(got, np.repeat(gray[..., None], 3, axis=2))


def test_exif_orientation_is_honored(face: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn 90 degrees clockwise to show"
    got = read_image(encode(Image.fromarray(face), "PNG", exif=exif))
    assert np.array_equal(got, np.rot90(face, -1))


def test_transparency_is_laid_on_white() -> None:
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, 3:] = (200, 10, 10, 255)
    expected = np.full((4, 6, 3), 255, np.uint8)
    expected[:, 3:] = (200, 10, 10)
    palette = Image.fromarray(np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0).astype(np.uint8)).convert("P")
    palette.putpalette([9, 9, 9, 200, 10, 10])
    for source in (rgba, encode(Image.fromarray(rgba), "PNG"), encode(palette, "PNG", transparency=0)):
        assert np.array_equal(read_image(source), expected)


def test_first_frame_of_an_animation(face: np.ndarray) -> None:
    frames = [Image.fromarray(face), Image.fromarray(255 - face)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(read_image(data).astype(int) - face).mean() < 6


def test_paths_images_and_arrays(face: np.ndarray, tmp_path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(face).save(path)
    for source in (path, str(path), path.read_bytes(), Image.fromarray(face), face):
        assert np.array_equal(read_image(source), face)
    assert np.array_equal(read_image(face[..., 0]), read_image(face[..., :1]))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused(face: np.ndarray, file_format: str, share: float) -> None:
    data = encode(Image.fromarray(face), file_format)
    with pytest.raises(ImageError, match=r"damaged or cut off|no picture of a known format"):
        read_image(data[: int(len(data) * share)])


def test_wrong_files_are_named(tmp_path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.jpg").write_text("no picture at all")
    for name, message in (
        ("empty.png", "empty.png is empty"),
        ("notes.jpg", "notes.jpg is no picture of a known format"),
        ("gone.png", "gone.png: there is no such file"),
        (".", "got a folder"),
    ):
        with pytest.raises(ImageError, match=message):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="got a URL"):
        read_image("https://example.org/face.jpg")


def test_large_images_are_refused_from_the_header() -> None:
    header = encode(Image.new("1", (8, 8)), "BMP")
    for side in (7200, 40_000):  # over our limit, and over the one that Pillow itself has
        data = bytearray(header)
        data[18:26] = side.to_bytes(4, "little") * 2
        with pytest.raises(ImageError, match="limit is 50 megapixels"):
            read_image(bytes(data))  # holds no such pixels: decoding it would say "truncated"
    with pytest.raises(ImageError, match="limit is 50 megapixels"):
        read_image(np.broadcast_to(np.uint8(0), (MAX_PIXELS + 1, 1, 3)))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 3)), "got float64"),
        (np.zeros((4, 4, 2), np.uint8), r"got \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), "got"),
        (Image.fromarray(np.zeros((4, 4), np.float32)), "floating-point"),
        (Image.fromarray(np.full((4, 4), 70_000, np.int32)), "outside 0-65535"),
        (b"", "empty"),
        (None, "got NoneType"),
    ],
)
def test_other_values_are_refused(source: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(source)


@pytest.mark.parametrize(("brand", "named"), [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")])
def test_formats_of_phones_are_named(brand: bytes, named: str) -> None:
    content = b"\0\0\0\x18ftyp" + brand + bytes(40)
    with pytest.raises(ImageError, match=f"of the format {named}, which is not read. Expected a JPEG"):
        read_image(content)


@pytest.mark.parametrize(
    ("size", "divisor"), [((2560, 1920), 2), ((2559, 1919), 1), ((5200, 40), 4), ((900, 5121), 4)]
)
def test_jpeg_is_decoded_as_large_as_needed(size: tuple[int, int], divisor: int) -> None:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    reduced = read_reduced(encode(image, "JPEG", quality=95), 1280)
    assert (reduced.size, reduced.divisor) == (size, divisor)
    assert reduced.image.shape == (-(-size[1] // divisor), -(-size[0] // divisor), 3)
    assert max(reduced.image.shape) >= 1280
    whole = np.asarray(image.resize(reduced.image.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(reduced.image.astype(int) - whole).max() <= 3
    other = read_reduced(encode(image, "PNG"), 1280)
    assert (other.size, other.divisor, other.image.shape[1::-1]) == (size, 1, size)


def test_a_reduced_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.linear_gradient("L").resize((2600, 1300)).convert("RGB")
    reduced = read_reduced(encode(image, "JPEG", exif=exif), 1280)
    assert (reduced.size, reduced.divisor, reduced.image.shape) == ((1300, 2600), 2, (1300, 650, 3))
    across = reduced.image[600, :, 0].astype(int)
    assert across[0] > 240 and across[-1] < 15, "turned clockwise, what was at the bottom is at the left"


def test_limits_are_those_of_the_whole_image() -> None:
    data = bytearray(encode(Image.new("L", (8, 8)), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = (8000).to_bytes(2, "big") * 2
    with pytest.raises(ImageError, match="limit is 50 megapixels"):
        read_reduced(bytes(data), 1280)


def test_16_bit_values_reach_from_black_to_white() -> None:
    """Also where Pillow holds them in 32 bits."""
    edges = Image.fromarray(np.array([[0, 255, 256, 65535]], np.int32))
    assert read_image(edges)[0].tolist() == [[0] * 3, [0] * 3, [1] * 3, [255] * 3]
    for value in (-1, 65536):
        with pytest.raises(ImageError, match="the picture has values outside 0-65535"):
            read_image(Image.fromarray(np.array([[0, value]], np.int32)))


def test_gray_and_transparent_arrays() -> None:
    gray = np.array([[0, 100], [200, 255]], np.uint8)
    for array in (gray, gray[..., None]):
        assert np.array_equal(read_image(array), np.stack([gray] * 3, axis=2))
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    assert read_image(rgba).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    with pytest.raises(ImageError, match=r"the picture has 60 megapixels \(6000x10000\)"):
        read_image(np.broadcast_to(np.uint8(0), (10_000, 6000)))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(ImageError, match=r"^a\.png: the file may not be read\. Check its permissions\.$"):
        read_image(tmp_path / "a.png")


def test_a_damaged_file_is_named(face: np.ndarray, tmp_path) -> None:
    (tmp_path / "cut.png").write_bytes(encode(Image.fromarray(face), "PNG")[:500])
    with pytest.raises(ImageError, match=r"^cut\.png is damaged or cut off \(.*\)\. Expected "):
        read_image(tmp_path / "cut.png")


def test_a_header_that_cannot_be_read_is_named(face: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no header")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ImageError, match=r"^the picture is damaged or cut off \(no header\)\. Expected "):
        read_image(encode(Image.fromarray(face), "PNG"))
