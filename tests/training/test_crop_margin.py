"""The margin is chosen by what the model says, and stored whole."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from gradio_ui.recognition import Faces
from training.crop_margin import find, main, measure, place, write_margins
from training.errors import EvaluationError
from training.files import sha256_of
from training.reporting.report import Report


class PlacedFaceDetector:
    """Knows where `place` puts the faces and reports boxes smaller by a known margin, moved to the right."""

    name = "known"
    notice = ""

    def __init__(self, images: list[np.ndarray], margin: float, shift: float = 0.0) -> None:
        self.truths = [truth for _, truth in place(images)]
        self.margin, self.shift = margin, shift
        self.calls = 0

    def __call__(self, frame: np.ndarray) -> Faces:
        left, top, right, bottom = self.truths[self.calls % len(self.truths)]
        self.calls += 1
        if self.calls % 4 == 0:
            return Faces(np.array([[0, 0, 9, 9]], np.float32), np.ones(1, np.float32))  # somewhere else
        half = (right - left) / (1 + self.margin) / 2
        x, y = (left + right) / 2 + 2 * half * self.shift, (top + bottom) / 2
        return Faces(np.array([[x - half, y - half, x + half, y + half]], np.float32), np.ones(1, np.float32))


class MeanColorClassifier:
    """Answers with the share of each color, so that surroundings of another color change the answer."""

    def __call__(self, crops: list[np.ndarray]) -> np.ndarray:
        colors = np.array([crop.reshape(-1, 3).mean(axis=0) for crop in crops], np.float32)
        return colors / colors.sum(axis=1, keepdims=True)


@pytest.fixture
def images() -> list[np.ndarray]:
    """Faces of a sort: a ring of green in a ring of red in a ring of blue, so every other cut has other shares."""
    image = np.zeros((48, 48, 3), np.uint8)
    image[...] = (10, 10, 240)
    image[4:44, 4:44] = (240, 10, 10)
    image[12:36, 12:36] = (10, 240, 10)
    return [image] * 16


def test_images_are_placed_where_it_says(images: list[np.ndarray]) -> None:
    sides = set()
    for frame, (left, top, right, bottom) in place(images):
        side = int(right - left)
        sides.add(side)
        assert frame.shape == (2 * side, 2 * side, 3)
        assert 0 < left and right < 2 * side and 0 < top and bottom < 2 * side
        assert frame[int(top + bottom) // 2, int(left + right) // 2].tolist() == [10, 240, 10]
        assert frame[int(top) + 1, int(left) + 1].tolist() == [10, 10, 240]
    assert sides == {96, 128, 160, 200}


def test_only_faces_where_they_were_put_count(images: list[np.ndarray]) -> None:
    found = find(PlacedFaceDetector(images, 0.2), images)
    assert [face.index for face in found] == [i for i in range(16) if i % 4 != 3]
    assert np.allclose([face.margin for face in found], 0.2, atol=0.01)


@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.2])
def test_margin_that_restores_the_image_wins(images: list[np.ndarray], margin: float) -> None:
    result = measure(MeanColorClassifier(), PlacedFaceDetector(images, margin), images, (-0.2, -0.1, 0.0, 0.1, 0.2))
    assert result.found == 0.75
    assert result.best.margin == margin
    assert result.best.labels == 1
    assert result.best.distance < 0.02 < max(row.distance for row in result.agreements)
    assert result.geometric_margin == pytest.approx(margin, abs=0.01)
    assert "<- best" in str(result)


def test_an_offset_of_the_boxes_is_seen(images: list[np.ndarray]) -> None:
    result = measure(MeanColorClassifier(), PlacedFaceDetector(images, 0.1, shift=0.15), images, (0.1,))
    assert result.offset == pytest.approx((0.15, 0), abs=0.02)
    assert result.recentered.distance < result.best.distance / 2


def test_margins_are_stored_beside_the_others(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "convnext", "crop_margin": {"haar": 0.3, "yunet": 0.1}}))
    write_margins(tmp_path, {"yunet": -0.05})
    assert json.loads(path.read_text()) == {"model_type": "convnext", "crop_margin": {"haar": 0.3, "yunet": -0.05}}
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_detector_that_finds_nothing(images: list[np.ndarray]) -> None:
    nothing = PlacedFaceDetector(images, 0.0)
    nothing.truths = [np.array([0, 0, 9, 9], np.float32)]
    with pytest.raises(EvaluationError, match=r"found none of 16 faces\. Expected images"):
        measure(MeanColorClassifier(), nothing, images)


def test_errors_are_one_sentence(root: Path, tiny_csv: Path, tmp_path: Path) -> None:
    arguments = [str(root / "model_card/fer2013"), "--dataset", str(tiny_csv)]
    with pytest.raises(SystemExit, match="error: expected --split to be one of train, validation, test, got 'dev'"):
        main([*arguments, "--split", "dev"])
    with pytest.raises(SystemExit, match="error: expected --n to be at least 1, got 0"):
        main([*arguments, "--n", "0"])
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        main([str(tmp_path / "nowhere"), "--dataset", str(tiny_csv)])


def test_checksum_of_the_config_follows_its_margin(root: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "other.txt").write_text("")
    report = Report.load(root / "model_card/fer2013/report.json")
    report.with_files(tmp_path).save(tmp_path / "report.json")
    (tmp_path / "other.txt").write_text("changed by somebody else")
    write_margins(tmp_path, {"yunet": 0.1})
    files = Report.load(tmp_path / "report.json").files
    assert files["config.json"] == sha256_of(tmp_path / "config.json")
    assert files["other.txt"] == sha256(b"").hexdigest()  # what else changed stays noticeable
