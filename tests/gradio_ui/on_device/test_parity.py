"""The browser's engine gives what Python's gives: pixels, boxes, probabilities, ids."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from gradio_ui.recognition import EmotionRecognizer
from gradio_ui.recognition.crop import crop_face
from gradio_ui.recognition.image_processor import ImageProcessor
from gradio_ui.recognition.live import follow
from gradio_ui.recognition.tracker import ExpressionSession
from gradio_ui.recognition.types import Faces, Recognition
from gradio_ui.webcam.viewers import as_dict
from tests.support.device_page import DevicePage, encode
from tests.support.parity import compare, images, portrait
from tests.support.scheduling import some_slow

pytestmark = pytest.mark.browser
PHOTO = np.ascontiguousarray(astronaut()[:480])


def off_by(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("size", [(256, 240), (200, 188), (100, 33), (171, 160)])
def test_shrinks_as_opencv(device: DevicePage, size: tuple[int, int]) -> None:
    expected = cv2.resize(PHOTO, size, interpolation=cv2.INTER_AREA)
    assert off_by(device.call("resize", "shrinkByArea", PHOTO, *size), expected) == 0


def test_enlarges_as_opencv(device: DevicePage) -> None:
    small = np.ascontiguousarray(PHOTO[60:100, 180:240])
    expected = cv2.resize(small, (160, 107), interpolation=cv2.INTER_CUBIC)
    assert off_by(device.call("resize", "enlargeCubic", small, 160, 107), expected) <= 1


@pytest.mark.parametrize("resample", list(Image.Resampling))
@pytest.mark.parametrize("size", [(48, 48), (600, 500), (512, 100)])
def test_resizes_as_pillow(device: DevicePage, resample: Image.Resampling, size: tuple[int, int]) -> None:
    expected = np.asarray(Image.fromarray(PHOTO).resize(size, resample))
    assert off_by(device.call("resize", "resizeLikePillow", PHOTO, *size, int(resample)), expected) == 0


@pytest.mark.parametrize("box", [[180.5, 69.8, 270, 175.8], [-20.3, -30.2, 80.1, 90.7], [100, 100, 900, 900.5]])
@pytest.mark.parametrize("tilt", [None, 0, 26.5, -40, 75])
def test_crops_as_python(device: DevicePage, box: list[float], tilt: float | None) -> None:
    turn = np.radians(tilt or 0)
    eyes = [[200, 100], [200 + 40 * np.cos(turn), 100 + 40 * np.sin(turn)]]
    points = None if tilt is None else [*eyes, [220, 125], [202, 143], [239, 144]]
    landmarks = None if points is None else np.array(points, np.float32)
    expected = crop_face(PHOTO, np.array(box, np.float32), landmarks, -0.05)
    found = device.call("crop", "cropFace", PHOTO, box, points, -0.05)
    assert off_by(found, expected) <= 2 and (found != expected).mean() < 1e-3


PROCESSORS = {
    "ViT": {"image_processor_type": "ViTImageProcessor", "size": {"height": 40, "width": 30}, "resample": 2},
    "ConvNeXT": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 64}, "resample": 3},
    "large ConvNeXT": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 384},
        "resample": 3,
    },
}


@pytest.mark.parametrize("kind", some_slow(PROCESSORS, quick=("ViT", "ConvNeXT")))
def test_prepares_as_python(device: DevicePage, kind: str) -> None:
    config = PROCESSORS[kind] | {"rescale_factor": 1 / 255, "image_mean": [0.485, 0.456, 0.406]}
    config |= {"image_std": [0.229, 0.224, 0.225], "do_resize": True, "do_rescale": True, "do_normalize": True}
    config |= {"crop_pct": 0.875} if "Conv" in kind else {}
    crop = np.ascontiguousarray(PHOTO[:150, 100:220])
    script = """async ({ config, image }) => {
      const { ImageProcessor } = await import("/on_device/image_processor.js");
      const data = Uint8ClampedArray.from(atob(image.data), (c) => c.charCodeAt(0));
      const { data: values, dims } = new ImageProcessor(config).apply([{ ...image, data }]);
      return { values: Array.from(values), dims };
    }"""
    made = device.page.evaluate(script, {"config": config, "image": encode(crop)})
    expected = ImageProcessor(config)([crop])
    assert tuple(made["dims"]) == expected.shape
    assert np.array_equal(np.array(made["values"], np.float32).reshape(expected.shape), expected)


@pytest.mark.parametrize("name", some_slow(images(), quick=("portrait", "turned by 45", "corner", "group", "no face")))
def test_finds_the_same_faces(device: DevicePage, python_engine: EmotionRecognizer, name: str) -> None:
    image = images()[name]
    difference = compare(python_engine(image), device.recognize(image))
    assert difference.found == difference.expected == difference.labels
    assert difference.pixels <= 0.05 and difference.iou >= 0.99 and difference.probability <= 0.01


def test_takes_a_whole_image(device: DevicePage, python_engine: EmotionRecognizer) -> None:
    for image in (np.ascontiguousarray(PHOTO[60:180, 165:285]), np.ascontiguousarray(PHOTO[70:118, 190:238])):
        found = device.recognize(image, wholeImage=True)
        assert found["faces"][0]["box"] == [0, 0, *image.shape[1::-1]]
        assert compare(python_engine(image, whole_image=True), found).probability <= 1e-3


def test_flips_as_python(device: DevicePage, python_engine: EmotionRecognizer) -> None:
    """By default the mirror image counts as well; the crop is one for which that makes a difference."""

    def scores(crop: np.ndarray, flip: bool) -> np.ndarray:
        return python_engine(crop, whole_image=True, flip=flip).probabilities[0]

    crops = [np.ascontiguousarray(PHOTO[y : y + 48, x : x + 48]) for y in (40, 100, 200) for x in (100, 190, 300)]
    crop = max(crops, key=lambda crop: np.abs(scores(crop, True) - scores(crop, False)).max())
    assert np.abs(scores(crop, True) - scores(crop, False)).max() > 0.02
    for options, flip in (({}, True), ({"flip": True}, True), ({"flip": False}, False)):
        found = device.recognize(crop, wholeImage=True, **options)["faces"][0]["probabilities"]
        assert list(found.values()) == pytest.approx(scores(crop, flip), abs=2e-3)
    mirrored = device.recognize(np.ascontiguousarray(crop[:, ::-1]), wholeImage=True)["faces"][0]["probabilities"]
    assert mirrored == pytest.approx(device.recognize(crop, wholeImage=True)["faces"][0]["probabilities"], abs=1e-5)


def test_lays_transparency_on_white(device: DevicePage, python_engine: EmotionRecognizer) -> None:
    image = np.dstack([astronaut(), np.full((512, 512), 120, np.uint8)])
    difference = compare(python_engine(image), device.recognize(image))
    assert difference.labels == difference.expected == 1 and difference.probability <= 0.01


def walk(seed: int, steps: int = 150) -> list[dict[str, Any]]:
    """Simulate faces that move, come, go, jump and pass each other, at uneven times with gaps."""
    rng = np.random.default_rng(seed)
    places, speed = rng.uniform(0, 500, (5, 2)), rng.normal(0, 6, (5, 2))
    sides, seconds, frames = rng.uniform(30, 120, 5), 0.0, []
    for _ in range(steps):
        seconds += float(rng.choice([0.033, 0.05, 0.25, 0.9, 3.5], p=[0.4, 0.3, 0.24, 0.05, 0.01]))
        places = places + speed + rng.normal(0, 2, (5, 2))
        if rng.random() < 0.03:
            places[rng.integers(5)] += 150
        if rng.random() < 0.03:
            sides[rng.integers(5)] *= rng.choice([0.4, 2.5])
        shown = np.flatnonzero(rng.random(5) < 0.85)
        boxes = [[*places[i], *(places[i] + sides[i] * np.array([1, 1.3]))] for i in rng.permutation(shown)]
        scores = rng.dirichlet(np.ones(3), len(boxes)).tolist()
        frames.append({"seconds": seconds, "boxes": np.array(boxes, np.float32).tolist(), "scores": scores})
    return frames


@pytest.mark.parametrize("smoothing", [0, 0.5])
@pytest.mark.parametrize("seed", some_slow(range(4), quick=(0,)))
def test_tracks_as_python(device: DevicePage, seed: int, smoothing: float) -> None:
    labels = ("happy", "sad", "neutral")
    frames = walk(seed)
    script = """async ({ frames, labels, smoothing }) => {
      const { ExpressionSession } = await import("/on_device/tracker.js");
      const session = new ExpressionSession(labels);
      return frames.map(({ seconds, boxes, scores }) => {
        const faces = boxes.map((box, i) => ({ box, confidence: 0.9, scores: scores[i] }));
        return session.follow(faces, session.identify(boxes, seconds), seconds, { smoothing, threshold: 0.5 });
      });
    }"""
    made = device.page.evaluate(script, {"frames": frames, "labels": labels, "smoothing": smoothing})
    session = ExpressionSession(labels, smoothing, 0.5)
    for frame, found in zip(frames, made, strict=True):
        n = len(frame["boxes"])
        faces = Faces(np.array(frame["boxes"], np.float32).reshape(n, 4), np.full(n, 0.9, np.float32))
        scores = np.array(frame["scores"], np.float32).reshape(n, 3)
        expected = session.update(Recognition(faces, scores, labels, (640, 480)), frame["seconds"])
        for face, other in zip((as_dict(face, labels) for face in expected), found, strict=True):
            for told in ("face", "label", "unclear", "shown"):
                assert face[told] == other[told]
            assert list(face) == list(other) and face["box"] == pytest.approx(other["box"], abs=0.101)
            for kind in ("probabilities", "raw"):
                assert face[kind] == pytest.approx(other[kind], abs=2e-5)


def clip() -> list[np.ndarray]:
    """Five seconds of video at 8 frames/s: one face sways, one passes in front, one comes and goes."""
    small = Image.fromarray(astronaut()[30:200, 140:310])
    frames = []
    for step in range(40):
        image = Image.fromarray(portrait(480, 360, (int(60 + 40 * np.sin(step / 4)), 0), 360, 10 * np.sin(step / 6)))
        image.paste(small.resize((70, 70)), (10 * step - 40, 270))
        if 12 <= step < 28:
            image.paste(small.resize((90, 90)), (370, 20 + step))
        frames.append(np.asarray(image))
    return frames


@pytest.mark.slow
def test_follows_a_clip_as_python(device: DevicePage, python_engine: EmotionRecognizer) -> None:
    labels = python_engine.labels
    live, session = follow(python_engine), ExpressionSession(labels)
    device.page.evaluate("recognizer.reset()")
    ids: set[int] = set()
    off = []  # pixels
    for number, image in enumerate(clip()):
        seconds = number / 8
        expected = {face.face: as_dict(face, labels) for face in session.update(live(image, seconds), seconds)}
        answer = device.track(image, seconds=seconds, smoothing=0.5)
        assert answer["labels"] == list(labels)
        found = {face["face"]: face for face in answer["faces"]}
        assert found.keys() == expected.keys(), seconds
        ids |= found.keys()
        for face in found:
            assert found[face]["label"] == expected[face]["label"]
            assert found[face]["raw"] == pytest.approx(expected[face]["raw"], abs=0.01)
            off.append(float(np.abs(np.subtract(found[face]["box"], expected[face]["box"])).max()))
    assert len(ids) == 3
    assert max(off) <= 1


@pytest.mark.slow
def test_boxes_of_large_frames_are_theirs(device: DevicePage) -> None:
    image = portrait(1280, 720, (300, 0), 700)
    device.page.evaluate("recognizer.reset()")
    expected = device.recognize(image)["faces"][0]["box"]
    assert device.track(image, seconds=0, smoothing=0)["faces"][0]["box"] == pytest.approx(expected, abs=15)


def test_late_frames_are_told(device: DevicePage) -> None:
    device.page.evaluate("recognizer.reset()")
    image = portrait(320, 240, (40, 0), 240)
    assert device.track(image, seconds=2, smoothing=0)["faces"][0]["face"] == 1
    assert device.track(image, seconds=1, smoothing=0) == {"late": True}
    script = """async () => {
      const frame = () => new ImageData(320, 240);
      const calls = [3, 4, 5].map((seconds) => recognizer.track(frame(), { seconds }));
      return (await Promise.all(calls)).map((answer) => answer.late ?? false);
    }"""
    assert device.page.evaluate(script) == [False, True, False]


@pytest.mark.slow
def test_int8_agrees(open_page: Any, python_engine: EmotionRecognizer) -> None:
    page = open_page()
    loaded = page.load(backend="wasm")
    assert loaded == {"backend": "wasm", "precision": "int8", "labels": list(python_engine.labels)}
    image = images()["group"]
    difference = compare(python_engine(image), page.recognize(image))
    assert difference.pixels <= 0.05 and difference.probability <= 0.05, json.dumps(vars(difference))
