"""A tiny expression classifier with random weights, and a real face."""

from pathlib import Path

import numpy as np
import pytest

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a complete model folder; its weights vary enough for different pixels to give different answers."""
    import torch
    from transformers import ConvNextConfig, ConvNextForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ConvNextConfig(
        patch_size=2,
        num_stages=3,
        hidden_sizes=[16, 32, 64],
        depths=[1, 1, 1],
        image_size=48,
        layer_scale_init_value=1.0,
        initializer_range=0.2,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        crop_margin={"yunet": 0.05, "haar": -0.1},  # as older packages have it; nothing reads the second
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    ConvNextForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(
        size={"height": 48, "width": 48},
        resample=2,
        do_convert_rgb=True,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """Return a frontal face in (512, 512, 3) uint8 RGB; its eyes are near (203, 104) and (248, 104)."""
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="session")
def yunet_path() -> Path:
    """YuNet's file, as the app finds it."""
    from gradio_ui.recognition.detector import find_yunet

    return find_yunet()
