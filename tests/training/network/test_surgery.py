import re

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    ConvNextConfig,
    ConvNextForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from gradio_ui.recognition.backends import LUMA
from tests.support.tiny_run import NAMES
from training.errors import SurgeryError
from training.evaluation.calibration import Scaling
from training.network.surgery import expand_stem_to_rgb, fold_scaling, keep_blocks, select_head


def tiny(kind: str, channels: int = 1):
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    if kind == "vit":
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = ViTConfig(num_channels=channels, image_size=24, patch_size=6, **sizes, **labels)
        return ViTForImageClassification(config).eval()
    config = ConvNextConfig(
        num_channels=channels, patch_size=3, num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], **labels
    )
    return ConvNextForImageClassification(config).eval()


@pytest.mark.parametrize("kind", ["convnext", "vit"])
def test_widened_stem_sees_luma(kind, tmp_path):
    model, color = tiny(kind), torch.randn(2, 3, 24, 24)
    luma = (color * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    with torch.inference_mode():
        expected = model(luma).logits
        expand_stem_to_rgb(model).save_pretrained(tmp_path)
        saved = AutoModelForImageClassification.from_pretrained(tmp_path)
        torch.testing.assert_close(model(color).logits, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(saved(color).logits, expected, atol=1e-5, rtol=1e-5)
    assert saved.config.num_channels == 3


def test_color_stem_is_refused():
    with pytest.raises(SurgeryError, match="takes 1 channel"):
        expand_stem_to_rgb(tiny("convnext", channels=3))


@pytest.mark.parametrize(("head", "rows"), [("fer2013", slice(0, 7)), ("ferplus", slice(7, 15))])
def test_selected_head_gives_its_rows(head, rows, tmp_path):
    model, pixels = tiny("convnext"), torch.randn(2, 1, 24, 24)
    with torch.inference_mode():
        expected = model(pixels).logits[:, rows]
        select_head(model, head).save_pretrained(tmp_path)
        saved = AutoModelForImageClassification.from_pretrained(tmp_path)
        torch.testing.assert_close(saved(pixels).logits, expected)
    assert list(saved.config.id2label.values()) == [name.removeprefix("ferplus/") for name in NAMES[rows]]
    assert saved.config.label2id["happy"] == 3


def test_missing_head_is_named():
    model = select_head(tiny("convnext"), "fer2013")
    with pytest.raises(SurgeryError, match="no head 'ferplus'; its outputs are angry, disgust"):
        select_head(model, "ferplus")


def test_scaling_is_folded_in_and_recorded(tmp_path):
    model, pixels = select_head(tiny("convnext"), "fer2013"), torch.randn(2, 1, 24, 24)
    scaling = Scaling(np.linspace(0.5, 2, 7), np.linspace(-1, 1, 7))
    with torch.inference_mode():
        expected = scaling(model(pixels).logits.numpy())
        fold_scaling(model, scaling).save_pretrained(tmp_path)
        saved = AutoModelForImageClassification.from_pretrained(tmp_path)
        np.testing.assert_allclose(saved(pixels).logits.numpy(), expected, atol=1e-6)
    assert saved.config.calibration["temperature"]["angry"] == 0.5
    assert saved.config.calibration["bias"]["neutral"] == 1.0
    with pytest.raises(SurgeryError, match="not calibrated yet"):
        fold_scaling(saved, scaling)
    with pytest.raises(SurgeryError, match="expected temperatures above 0"):
        fold_scaling(select_head(tiny("convnext"), "fer2013"), Scaling(np.zeros(7), np.zeros(7)))


def test_kept_blocks_are_the_first(tmp_path):
    torch.manual_seed(0)
    config = ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[2, 3], layer_scale_init_value=1.0)
    model = ConvNextForImageClassification(config).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for stage, first in ((0, 1), (1, 2)):  # a block whose scale is zero does nothing
            for block in model.convnext.encoder.stages[stage].layers[first:]:
                block.layer_scale_parameter.zero_()
        expected = model(pixels).logits
        keep_blocks(model, [1, 2]).save_pretrained(tmp_path)
        saved = AutoModelForImageClassification.from_pretrained(tmp_path)
        torch.testing.assert_close(saved(pixels).logits, expected)
    assert saved.config.depths == [1, 2]


@pytest.mark.parametrize("depths", [[2, 1], [1], [0, 1]])
def test_blocks_that_are_not_there(depths):
    with pytest.raises(SurgeryError, match=re.escape(f"at least {depths} blocks, got [1, 1]")):
        keep_blocks(tiny("convnext"), depths)


def test_blocks_of_another_network():
    with pytest.raises(SurgeryError, match="got ViTForImageClassification"):
        keep_blocks(tiny("vit"), [1])
