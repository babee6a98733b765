"""The pixels of the saved image processors, to the last bit, without transformers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition import ModelError
from gradio_ui.recognition.image_processor import ImageProcessor

SIZES = ((120, 120), (48, 48), (300, 200), (97, 131), (20, 9))  # height, width


def saved(name: str, folder: Path, **options: object) -> tuple:
    """transformers' image processor of that name, and ours, from the same file."""
    import json

    import transformers

    stock = getattr(transformers, name)(**options)
    stock.save_pretrained(folder)
    return stock, json.loads((folder / "preprocessor_config.json").read_text())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "ViTImageProcessor",
            {"size": {"height": 48, "width": 48}, "image_mean": [0.5068] * 3, "do_convert_rgb": True},
        ),
        ("ViTImageProcessor", {"size": {"height": 40, "width": 56}, "resample": 3, "image_std": [0.2, 0.3, 0.4]}),
        ("ViTImageProcessor", {"resample": 1, "rescale_factor": 1 / 127.5}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 97}, "crop_pct": 0.9, "resample": 2}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    ],
)
def test_pixels_are_those_of_transformers(name: str, options: dict, portrait: np.ndarray, tmp_path: Path) -> None:
    stock, config = saved(name, tmp_path, **options)
    crops = [np.ascontiguousarray(portrait[60 : 60 + h, 170 : 170 + w]) for h, w in SIZES]
    expected = np.stack(stock([Image.fromarray(crop) for crop in crops])["pixel_values"])
    ours = ImageProcessor(config)(crops)
    assert ours.dtype == expected.dtype == np.float32
    assert np.array_equal(ours, expected)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ViTImageProcessor", {"image_processor_type": "CLIPImageProcessor"}),
        ("ViTImageProcessor", {"size": {"shortest_edge": 48}}),
        ("ViTImageProcessor", {"size": 48}),
        ("ViTImageProcessor", {"do_resize": False}),
        ("ViTImageProcessor", {"do_center_crop": True}),
        ("ViTImageProcessor", {"image_mean": [0.5]}),
        ("ConvNextImageProcessor", {"crop_pct": 1.2}),
    ],
)
def test_what_it_does_not_know_it_refuses(name: str, change: dict, tmp_path: Path) -> None:
    _, config = saved(name, tmp_path)
    ImageProcessor(config)
    with pytest.raises(ModelError, match="only PyTorch can serve"):
        ImageProcessor(config | change)


@pytest.mark.parametrize("key", ["resample", "image_std", "do_rescale", "crop_pct"])
def test_a_missing_value_is_not_guessed(key: str, tmp_path: Path) -> None:
    _, config = saved("ConvNextImageProcessor", tmp_path)
    del config[key]
    with pytest.raises(ModelError, match="only PyTorch can serve"):
        ImageProcessor(config)
