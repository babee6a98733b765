"""The package's ONNX files in transformers.js, which takes them straight from a model folder, as browsers do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from gradio_ui.recognition.classifier import Classifier

HERE = Path(__file__).parent / "javascript"


def in_javascript(models: Path, image: Path) -> dict[str, dict[str, float]]:
    """Scores by dtype and label."""
    if not shutil.which("node"):
        pytest.skip("there is no node")
    if not (HERE / "node_modules/.package-lock.json").is_file():  # npm writes it last
        pytest.skip("transformers.js is not installed; `make test` does that where there is npm")
    command = ["node", "classify.mjs", str(models), "fer2013", str(image)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    scores: dict[str, dict[str, float]] = json.loads(done.stdout)
    return scores


def in_python(folder: Path, crop: np.ndarray) -> dict[str, float]:
    classifier = Classifier.from_pretrained(folder, backend="onnxruntime")
    return dict(zip(classifier.labels, classifier([crop])[0].tolist(), strict=True))


@pytest.fixture(scope="module")
def models(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model_card/, and beside it a folder whose only ONNX file is the quantized one."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("fer2013", "quantized"):
        shutil.copytree(root / "model_card" / "fer2013", folder / name)
    (folder / "quantized/report.json").unlink()  # its checksums are those of the float32 file
    (folder / "quantized/onnx/model_quantized.onnx").replace(folder / "quantized/onnx/model.onnx")
    return folder


@pytest.mark.parametrize(
    ("side", "tolerance"),
    [
        (48, 1e-3),  # what the model takes: the runtimes alone are compared
        (120, 0.02),  # to be shrunk: transformers.js resamples with libvips, Python with Pillow
    ],
)
def test_agrees_with_python(models: Path, tmp_path: Path, side: int, tolerance: float) -> None:
    face = Image.fromarray(astronaut()[62:182, 166:286]).resize((side, side), Image.Resampling.BILINEAR)
    face.save(tmp_path / "face.png")
    scores: dict[str, Any] = in_javascript(models, tmp_path / "face.png")
    for dtype, folder in (("fp32", "fer2013"), ("q8", "quantized")):
        expected = in_python(models / folder, np.asarray(face))
        assert scores[dtype].keys() == expected.keys()
        assert scores[dtype] == pytest.approx(expected, abs=tolerance), dtype
