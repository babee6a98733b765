"""YuNet with merged heads gives what the published file gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from gradio_ui.recognition import DetectorError, YuNetDetector
from gradio_ui.recognition.onnx_session import cpu_session
from gradio_ui.recognition.yunet_network import HEADS, OUTPUTS, STRIDES, merged_heads


def test_merging_the_heads_changes_no_value(yunet_path: Path) -> None:
    image = np.random.default_rng(0).random((1, 3, 640, 640), np.float32) * 255
    whole = cpu_session(yunet_path)
    names = [output.name for output in whole.get_outputs()]
    expected = dict(zip(names, whole.run(names, {"input": image}), strict=True))
    merged = cpu_session(merged_heads(yunet_path)).run(None, {"input": image})
    for stride, level in zip(STRIDES, merged, strict=True):
        assert level.shape == (1, OUTPUTS, 640 // stride, 640 // stride)
        parts = np.split(level.reshape(OUTPUTS, -1).T, np.cumsum([*HEADS.values()])[:-1], axis=1)
        for kind, values in zip(HEADS, parts, strict=True):
            found = 1 / (1 + np.exp(-values)) if kind in ("cls", "obj") else values
            np.testing.assert_allclose(found, expected[f"{kind}_{stride}"][0], atol=1e-5)


def test_a_network_of_another_shape_is_refused(yunet_path: Path, tmp_path: Path) -> None:
    model = onnx.load(yunet_path)
    for node in model.graph.node:
        if node.output[0] == "cls_8":
            node.op_type = "Tanh"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(DetectorError, match=r"other\.onnx is no YuNet model"):
        YuNetDetector(tmp_path / "other.onnx")


@pytest.mark.parametrize("size", [(640, 480), (2600, 1700)])
def test_one_thread_gives_what_two_give(yunet_path: Path, portrait: np.ndarray, size: tuple[int, int]) -> None:
    from PIL import Image

    frame = np.asarray(Image.fromarray(portrait).resize(size))
    one, two = YuNetDetector(yunet_path, threads=1)(frame), YuNetDetector(yunet_path)(frame)
    assert len(one) == len(two) == 1
    np.testing.assert_allclose(one.xyxy, two.xyxy, atol=0.01)
