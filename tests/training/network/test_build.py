"""Networks: new ones of the sizes asked for, checkpoints under a new classifier."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, ConvNextConfig

from tests.support.tiny_run import NAMES, make_run
from training.data.labels import FERPLUS_EMOTIONS
from training.errors import RecipeError, SurgeryError
from training.network.build import ModelArguments, build_model, heads, load_model, output_names

SMALL: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


def test_a_new_convnext_has_the_sizes_asked_for() -> None:
    args = ModelArguments(**SMALL, image_size=24, patch_size=6, drop_path_rate=0.25, layer_scale_init_value=0.5)
    model, image_processor = build_model(args, ["happy", "sad", "bored"], 0.4, 0.2)
    config = model.config
    assert type(config).__name__ == "ConvNextConfig"
    assert (config.num_channels, config.patch_size, config.num_stages, config.image_size) == (1, 6, 2, 24)
    assert (config.hidden_sizes, config.depths) == ([8, 16], [1, 1])
    assert (config.drop_path_rate, config.layer_scale_init_value) == (0.25, 0.5)
    assert config.id2label == {0: "happy", 1: "sad", 2: "bored"} and config.label2id["bored"] == 2
    assert (image_processor.size["height"], image_processor.size["width"]) == (24, 24)
    assert [*image_processor.image_mean, *image_processor.image_std] == [0.4] * 3 + [0.2] * 3
    assert image_processor.do_convert_rgb is True


def test_a_new_regnet_has_one_group() -> None:
    args = ModelArguments(architecture="regnet", gray=False, hidden_sizes=[8, 16], depths=[1, 2])
    model, _ = build_model(args, ["happy", "sad"], 0.4, 0.2)
    config = model.config
    assert type(config).__name__ == "RegNetConfig" and config.id2label == {0: "happy", 1: "sad"}
    assert (config.num_channels, config.embedding_size, config.groups_width) == (3, 8, 16)
    assert (config.hidden_sizes, config.depths, config.layer_type) == ([8, 16], [1, 2], "x")
    assert config.downsample_in_first_stage is False
    stem = next(module for module in model.modules() if type(module) is torch.nn.Conv2d)
    assert stem.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"hidden_sizes": [8], "depths": [1, 1]}, r"expected one entry per stage, got \[8\] and \[1, 1\]"),
        ({"architecture": "vgg"}, "architecture: expected convnext or regnet, got 'vgg'"),
        ({"image_size": 11}, "image_size 11 is too small for a stem of stride 3 and 3 stages"),
        ({"image_size": 7, "architecture": "regnet"}, "image_size 7 is too small for a stem of stride 2 and 3 stages"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelArguments(**sizes)


def test_the_smallest_images_that_reach_the_last_stage() -> None:
    assert ModelArguments(image_size=12).image_size == 12
    assert ModelArguments(image_size=8, architecture="regnet").image_size == 8
    assert ModelArguments(image_size=1, model_name_or_path="checkpoint").image_size == 1  # it has its own


def test_a_checkpoint_gets_a_new_classifier(run: Path, tmp_path: Path) -> None:
    stock = AutoModelForImageClassification.from_pretrained(run)
    stock.config.provenance, stock.config.calibration, stock.config.label_map = {"head": "fer2013"}, {"a": 1}, {"a": 1}
    stock.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((run / "preprocessor_config.json").read_bytes())
    args = ModelArguments(model_name_or_path=str(tmp_path), drop_path_rate=0.125)
    model, image_processor = build_model(args, ["happy", "sad"], 0.4, 0.2)
    assert model.config.id2label == {0: "happy", 1: "sad"} and model.config.label2id == {"happy": 0, "sad": 1}
    assert model.classifier.out_features == 2 and model.config.drop_path_rate == 0.125
    assert not any(hasattr(model.config, name) for name in ("provenance", "calibration", "label_map"))
    for (name, ours), theirs in zip(model.convnext.named_parameters(), stock.convnext.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert list(image_processor.image_mean) == [0.5123] * 3  # its own
    with pytest.raises(SurgeryError, match=r"at least \[1, 2\] blocks, got \[1, 1\]"):
        build_model(ModelArguments(model_name_or_path=str(run), keep_blocks=[1, 2]), ["happy"], 0.4, 0.2)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "beit"}))
    with pytest.raises(RecipeError, match=r"expected a checkpoint of model_type vit, .*resnet; got 'beit'"):
        build_model(ModelArguments(model_name_or_path=str(tmp_path)), ["happy"], 0.4, 0.2)


def test_heads_are_told_by_their_names() -> None:
    config = ConvNextConfig(id2label={"2": "sad", "0": "happy", "1": "ferplus/happy"})
    assert output_names(config) == ["happy", "ferplus/happy", "sad"]
    assert heads(config) == {"fer2013": [0, 2], "ferplus": [1]}
    assert heads(ConvNextConfig(id2label={0: "happy", 1: "sad"})) == {"fer2013": [0, 1]}


def test_a_run_loads_as_one_head_for_color(run: Path) -> None:
    model, image_processor = load_model(run, "ferplus")
    assert list(model.config.id2label.values()) == list(FERPLUS_EMOTIONS)
    assert model.config.num_channels == 3 and not model.training
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 48, 48)).logits.shape == (1, 8)
    assert list(image_processor.image_std) == [0.2535] * 3
    assert len(load_model(run)[0].config.id2label) == len(NAMES) - 8
