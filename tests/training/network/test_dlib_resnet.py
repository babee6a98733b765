"""dlib's network comes out of its file layer by layer, and computes the same with batch norms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from training.errors import SurgeryError
from training.network.dlib_resnet import _fill, convert, read_tensors

WIDTHS = [32] * 6 + [64] * 8 + [128] * 6 + [256] * 8


@pytest.fixture(scope="module")
def tensors() -> list[np.ndarray]:
    """Parameters of the right sizes, at random."""
    rng = np.random.default_rng(0)
    made = []
    for out, fan_in in [(32, 3 * 49), *((w, b * 9) for w, b in zip(WIDTHS, [32, *WIDTHS], strict=False))]:
        kernel = rng.normal(0, (2 / fan_in) ** 0.5, out * fan_in)
        made.append(np.append(kernel, rng.normal(0, 0.1, out)).astype(np.float32))
        made.append(np.append(rng.uniform(0.5, 1.5, out), rng.normal(0, 0.1, out)).astype(np.float32))
    return made


def as_dlib_writes(values: list[int]) -> bytes:
    parts = [value.to_bytes((value.bit_length() + 7) // 8, "little") for value in values]
    return b"".join(bytes([len(part)]) + part for part in parts)


def test_parameters_are_read_in_order(tensors: list[np.ndarray], tmp_path: Path) -> None:
    file = tmp_path / "net.dat"
    layers = [b"con_4\x01\x03" + as_dlib_writes([2, len(t), 1, 1, 1]) + t.astype("<f4").tobytes() for t in tensors[:6]]
    file.write_bytes(b"\x01\x01" + b"".join(layers) + b"\x01\x02\x01")
    read = read_tensors(file)
    assert len(read) == 6 and all(np.array_equal(a, b) for a, b in zip(read, tensors, strict=False))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"\x01\x02" * 40)
    with pytest.raises(SurgeryError, match=r"notes\.txt: expected a network file of dlib"):
        read_tensors(tmp_path / "notes.txt")


def test_batch_norms_compute_what_the_scales_did(tensors: list[np.ndarray]) -> None:
    images = torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    model = convert(tensors, images)
    plain = type(model)(model.config).eval()
    for norm in _fill(plain, iter(tensors)):  # scale and shift alone: no mean, variance 1
        assert isinstance(norm, nn.BatchNorm2d)
        norm.eps = 0.0
    with torch.inference_mode():
        expected = plain.resnet(images).pooler_output
        torch.testing.assert_close(model.resnet(images).pooler_output, expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(model.train().resnet(images).pooler_output, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("change", ["short", "long", "other"])
def test_other_networks_are_refused(tensors: list[np.ndarray], change: str) -> None:
    other = {"short": tensors[:-2], "long": [*tensors, tensors[0]], "other": [*tensors[:4], *tensors[10:]]}[change]
    with pytest.raises(SurgeryError, match="expected dlib's face-recognition network"):
        convert(other, torch.zeros(1, 1, 32, 32))
