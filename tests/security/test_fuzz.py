"""Fuzzing: damaged images, videos, requests and tables end in a result or in one of our own errors, never otherwise.

Each test draws its cases from a fixed seed, so that a failure repeats; `CASES` says how many. A case that takes longer
than `DEADLINE` fails, and so does the module when the process grows by more than `MEMORY_MB`.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import resource
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut

from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.image_io import FORMATS, read_image
from gradio_ui.recognition.video import VideoReader
from tests.support.clips import CODECS, make_clip
from tests.support.dataset_fixtures import VOTE_COLUMNS
from training.data.load import load_fer
from training.data.readers import DataError

CASES = {"images": 400, "videos": 150, "requests": 100, "frames": 150, "tables": 100, "votes": 60}
DEADLINE = timedelta(seconds=10)
MEMORY_MB = 1000
pytestmark = pytest.mark.timeout(120)


def fuzz(cases: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis's settings for one kind of input."""
    return settings(
        max_examples=CASES[cases],
        deadline=DEADLINE,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),  # a failing file is as telling as a smaller one
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """Fails the module when the most memory that the process ever held grows by too much."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit - before
    assert grown < MEMORY_MB, f"expected less than {MEMORY_MB} MB more, got {grown:.0f} MB"


@st.composite
def damaged(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """A sound file with up to three damages: bytes changed, taken out, put in or repeated, or the end cut off."""
    data = bytearray(draw(st.sampled_from(files)))
    random = Random(draw(st.integers(0, 2**32)))  # noqa: S311 - Hypothesis's own draws favor the first bytes
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        # The head matters most, but the first bytes only name the format.
        place = random.randrange(random.choice((8, 64, 500, len(data) + 1)))
        piece = random.randbytes(random.randint(1, 8))
        match random.choice(("change", "take", "put", "repeat", "cut")):
            case "change":
                data[place : place + len(piece)] = piece
            case "take":
                del data[place : place + len(piece)]
            case "put":
                data[place:place] = piece
            case "repeat":
                data[place:place] = data[place : place + 64]
            case "cut":
                del data[place:]
    return bytes(data)


def is_sentence(error: BaseException | str) -> bool:
    """Whether an error is meant for people: some words, no path of the server, and no bare Python repr."""
    told = str(error)
    return len(told.split()) >= 4 and "Traceback" not in told and "object at 0x" not in told


def encoded(kind: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(astronaut()[60:180:4, 160:290:4]).convert(mode).save(file, kind)
    return file.getvalue()


IMAGES = [encoded(kind) for kind in FORMATS] + [encoded(kind, mode) for kind, mode in (("PNG", "P"), ("TIFF", "CMYK"))]
IMAGES += [encoded("PNG", "RGBA"), encoded("PNG", "I;16"), b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"RIFF\0\0\0\0WEBP"]


@fuzz("images")
@given(damaged(IMAGES))
def test_images(data: bytes) -> None:
    try:
        image = read_image(data)
    except RecognitionError as error:
        assert is_sentence(error)
    else:
        assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == "uint8"


def test_videos(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"sound{suffix}", [i / 25 for i in range(6)]).read_bytes() for suffix in CODECS]

    @fuzz("videos")
    @given(damaged(clips))
    def check(data: bytes) -> None:
        path = tmp_path / "damaged.mp4"
        path.write_bytes(data)
        try:
            with VideoReader(path) as reader:
                shown = [frame.seconds for frame in reader]
        except RecognitionError as error:
            assert is_sentence(error)
        else:
            assert shown == sorted(set(shown)) and len(shown) < 1000

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(width=32) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def fields(draw: st.DrawFn, **choices: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Objects whose fields are mostly as they should be, sometimes anything at all, and sometimes missing."""
    made = {}
    for name, good in choices.items():
        fate = draw(st.sampled_from(("good",) * 10 + ("odd", "missing")))
        if fate != "missing":
            made[name] = draw(good if fate == "good" else JSON)
    return made


def post(address: str, body: object) -> tuple[int, str]:
    """The status and the text of an answer; Python's own JSON, so that NaN and Infinity reach the server."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def upload(api: str, data: bytes) -> str:
    """The path that the server gives to an upload."""
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{api}/upload", head + data + b"\r\n--b--\r\n", kind), timeout=20
    ) as answer:
        (path,) = json.loads(answer.read())
        return str(path)


def test_requests(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Any JSON posted to /recognize is answered, and no answer leaves a traceback in the server's log."""
    api = f"{url.rstrip('/')}/gradio_api"
    sound = [upload(api, data) for data in IMAGES[:4]]
    paths = st.sampled_from(
        (*sound, *sound, "", ".", "/etc/hostname", "~", "a\0b", "x" * 5000, "http://127.0.0.1:9/x")
    )
    file = fields(path=paths, url=paths, orig_name=st.text(max_size=9), meta=st.just({"_type": "gradio.FileData"}))

    @fuzz("requests")
    @given(fields(image=file | st.none(), whole_image=st.booleans(), model_name=st.just("me/fake")))
    def check(body: dict[str, Any]) -> None:
        status, text = post(f"{api}/call/v2/recognize", body)
        if status == 200:
            with urllib.request.urlopen(f"{api}/call/recognize/{json.loads(text)['event_id']}", timeout=20) as answer:
                event, _, data = answer.read().decode().rpartition("event: ")[2].partition("\ndata: ")
            told = json.loads(data)
            assert event in ("complete", "error"), event
            assert event == "complete" or is_sentence(told if isinstance(told, str) else told["error"]), told
        else:
            assert 400 <= status < 500, f"{status}: {text}"

    check()
    log = capfd.readouterr().err
    assert "Traceback" not in log, log[-4000:]


def test_frames(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Likewise for what the webcam tab sends."""
    base = url.rstrip("/")
    with urllib.request.urlopen(f"{base}/config", timeout=20) as answer:
        components = json.loads(answer.read())["components"]
    (webcam,) = [one["id"] for one in components if one["props"].get("elem_id") == "webcam"]
    sound = [f"data:image/jpeg;base64,{base64.b64encode(data).decode()}".encode() for data in IMAGES[:3]]
    data_url = damaged([*sound, *sound, b"data:,", b""])
    number = st.integers(0, 9) | st.sampled_from((0, 1, 1.5, -1, 1e308, float("nan"), float("inf"), "1", 2**70))
    frame = fields(
        image=data_url.map(lambda data: data.decode("latin-1")),
        start=number,
        seconds=number,
        smoothing=number,
        recording=st.integers(0, 2) | st.just(float("inf")),
        model=st.just("me/fake"),
    )
    part = fields(number=number, have=number, finish=st.booleans(), model=st.just("me/fake"))
    request = st.tuples(st.just("recognize_frame"), frame | JSON) | st.tuples(st.just("take_recording"), part | JSON)

    @fuzz("frames")
    @given(request, st.sampled_from(("fuzz", "", "s" * 5000)))
    def check(request: tuple[str, Any], session: str) -> None:
        name, data = request
        body = {"session_hash": session, "component_id": webcam, "fn_name": name, "data": data}
        status, text = post(f"{base}/gradio_api/component_server", body)
        if status == 200:
            told = json.loads(text)
            assert "faces" in told or "pieces" in told or "late" in told or is_sentence(told["error"]), text
        else:
            assert 400 <= status < 500, f"{status}: {text}"

    check()
    log = capfd.readouterr().err
    assert "Traceback" not in log, log[-4000:]


@st.composite
def table(draw: st.DrawFn, header: list[str], cells: dict[str, st.SearchStrategy[str]]) -> bytes:
    """A CSV file of up to six rows, mostly as it should be; then perhaps damaged, perhaps packed."""
    odd = st.sampled_from(("", " ", "-1", "1_0", "+5", "256", "1e3", "nan", "٣", "\0", '"', "x" * 200_000))
    rows = [",".join(header)]
    for _ in range(draw(st.integers(0, 6))):
        values = [draw(st.one_of(cells[name], cells[name], cells[name], odd)) for name in header]
        rows.append(",".join(values[: draw(st.sampled_from((len(header), len(header), 1)))]))
    plain = "\n".join(rows).encode()
    return draw(st.sampled_from((plain, plain, gzip.compress(plain, mtime=0), plain.decode().encode("utf-16"))))


PIXELS = st.sampled_from([" ".join([str(gray)] * 48 * 48) for gray in (0, 7, 255)])
USAGE = st.sampled_from(("Training", "PublicTest", "PrivateTest"))
FACES = table(
    ["emotion", "pixels", "Usage"], {"emotion": st.sampled_from("0123456"), "pixels": PIXELS, "Usage": USAGE}
)


def check_load(path: Path, **options: Any) -> None:
    try:
        splits = load_fer(path, cache_dir=path.parent / "cache", **options)
    except DataError as error:
        assert is_sentence(error) and len(str(error)) < 2000, str(error)[:200]
    else:
        assert sum(len(rows) for rows in splits.values())


def test_tables(tmp_path: Path) -> None:
    @fuzz("tables")
    @given(FACES | FACES.flatmap(lambda sound: damaged([sound])), st.booleans())
    def check(data: bytes, skip: bool) -> None:
        path = tmp_path / "fer2013.csv"
        path.write_bytes(data)
        check_load(path, skip_bad_rows=skip)

    check()


def test_votes(tiny_csv: Path, tiny_votes: Path, tmp_path: Path) -> None:
    columns = ["Usage", "Image name", *VOTE_COLUMNS]
    cells = dict.fromkeys(columns, st.sampled_from("0123456789")) | {"Usage": USAGE}
    made = table(columns, cells).flatmap(lambda sound: damaged([sound]))

    @fuzz("votes")
    @given(damaged([tiny_votes.read_bytes()]) | made)
    def check(data: bytes) -> None:
        path = tmp_path / "fer2013new.csv"
        path.write_bytes(data)
        check_load(tiny_csv, ferplus=path)

    check()
