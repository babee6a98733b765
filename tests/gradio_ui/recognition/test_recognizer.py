"""From a picture to the expressions in it, as the app and a program call it."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition import EmotionRecognizer, ImageError, ModelError, crop_face, read_image
from tests.support.model_fixtures import LABELS


@pytest.fixture(scope="module")
def recognizer(model_folder: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(model_folder, detector="yunet")


def test_a_portrait(recognizer: EmotionRecognizer, portrait: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "portrait.png"
    Image.fromarray(portrait).save(path)
    result = recognizer(path)
    assert len(result) == 1
    assert result.size == (512, 512)
    assert result.labels == recognizer.labels == LABELS
    (face,) = json.loads(json.dumps(result.to_dicts()))
    assert face["label"] == max(face["probabilities"], key=face["probabilities"].get)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(recognizer(portrait).probabilities, result.probabilities)


def test_each_face_is_cut_with_its_detectors_margin(recognizer: EmotionRecognizer, portrait: np.ndarray) -> None:
    result = recognizer(portrait)
    crop = crop_face(portrait, result.faces.xyxy[0], result.faces.landmarks[0], 0.05)
    assert np.allclose(result.probabilities, recognizer.classifier([crop], flip=True), atol=1e-6)


def test_faces_with_landmarks_are_turned(model_folder: Path, yunet_path: Path, portrait: np.ndarray) -> None:
    from gradio_ui.recognition import YuNetDetector

    recognizer = EmotionRecognizer.from_pretrained(model_folder, detector=YuNetDetector(yunet_path))
    result = recognizer(portrait)
    assert result.faces.landmarks is not None
    crop = crop_face(portrait, result.faces.xyxy[0], result.faces.landmarks[0], 0.05)
    assert np.allclose(result.probabilities, recognizer.classifier([crop], flip=True), atol=1e-6)


def test_whole_image_is_classified_untouched(recognizer: EmotionRecognizer, portrait: np.ndarray) -> None:
    image = np.ascontiguousarray(portrait[60:160, 170:250])
    result = recognizer(image, whole_image=True)
    assert result.faces.xyxy.tolist() == [[0, 0, 80, 100]]
    assert np.array_equal(result.probabilities, recognizer.classifier([image], flip=True))


def test_an_image_and_its_mirror_image_agree(recognizer: EmotionRecognizer, portrait: np.ndarray) -> None:
    """By default, since both views of a face are averaged; without `flip` each view is scored alone."""
    image = np.ascontiguousarray(portrait[60:180, 166:286])

    def gap(**options: bool) -> float:
        views = [recognizer(view, whole_image=True, **options).probabilities for view in (image, image[:, ::-1])]
        return float(np.abs(views[0] - views[1]).max())

    assert gap() < 0.01 < gap(flip=False)  # the two are resized with the rounding of 8 bits
    (single,), (both,) = (recognizer.batch([image], whole_image=True, **flip) for flip in ({"flip": False}, {}))
    assert np.array_equal(single.probabilities, recognizer(image, whole_image=True, flip=False).probabilities)
    assert np.abs(single.probabilities - both.probabilities).max() > 0.01


@pytest.mark.parametrize(("zoom", "sharp"), [(6.0, True), (3.0, False)])
def test_a_large_jpeg_gives_what_its_pixels_give(
    recognizer: EmotionRecognizer, portrait: np.ndarray, zoom: float, sharp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops come from the reduced image where that has enough pixels, else from the whole."""
    size = (round(512 * zoom), round(512 * zoom))
    frame = np.full((size[1], 2 * size[0], 3), 120, np.uint8)
    frame[:, : size[0]] = Image.fromarray(portrait).resize(size)
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=97)
    monkeypatch.setattr("gradio_ui.recognition.recognizer.SHARP", 2 if sharp else 20)
    located, whole = recognizer.locate(file.getvalue()), recognizer.locate(read_image(file.getvalue()))
    assert located.size == whole.size == (frame.shape[1], frame.shape[0])
    assert len(located.faces) == len(whole.faces) == 1
    assert np.abs(located.faces.xyxy - whole.faces.xyxy).max() < 1.5 * zoom
    assert located.faces.landmarks is not None and whole.faces.landmarks is not None
    assert np.abs(located.faces.landmarks - whole.faces.landmarks).max() < 1.5 * zoom
    sides = [one.crops[0].shape[0] for one in (located, whole)]
    assert (sides[0] < 0.6 * sides[1]) == sharp
    results = recognizer.classify([located, whole])
    assert np.abs(results[0].probabilities - results[1].probabilities).max() < 0.02


def test_no_face_is_an_empty_result(recognizer: EmotionRecognizer) -> None:
    result = recognizer(np.zeros((200, 300, 3), np.uint8))
    assert (len(result), result.probabilities.shape, result.to_dicts(), result.top()) == (0, (0, 7), [], [])


def test_threads_agree(recognizer: EmotionRecognizer, portrait: np.ndarray) -> None:
    expected = recognizer(portrait).probabilities
    with ThreadPoolExecutor(3) as pool:
        for result in pool.map(recognizer, [portrait] * 6):
            assert np.allclose(result.probabilities, expected, atol=1e-6)


def test_bad_input_is_named(recognizer: EmotionRecognizer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no such file"):
        recognizer(tmp_path / "gone.jpg")
    with pytest.raises(ModelError, match="lacks config"):
        EmotionRecognizer.from_pretrained(tmp_path)


def test_importing_costs_nothing() -> None:
    heavy = ("torch", "transformers", "cv2", "gradio", "huggingface_hub", "datasets")
    code = f"import gradio_ui.recognition, sys, os; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_a_detector_without_a_margin_is_cut_by_its_box(recognizer: EmotionRecognizer, portrait: np.ndarray) -> None:
    faces = recognizer(portrait).faces
    result = recognizer.score(portrait, faces, "other")
    crop = crop_face(portrait, faces.xyxy[0], faces.landmarks[0], 0.0)
    assert np.allclose(result.probabilities, recognizer.classifier([crop]), atol=1e-6)
    assert result.size == (512, 512)
