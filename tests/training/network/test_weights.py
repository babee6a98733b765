"""Weights: all of a checkpoint, or an error that names what is missing."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ConvNextConfig, ConvNextForImageClassification

from training.errors import WeightsError
from training.network.weights import check_keys, is_classifier, load_weights, restore_weights


def tiny(labels: int = 3, width: int = 16) -> ConvNextForImageClassification:
    config = ConvNextConfig(
        num_channels=1, patch_size=3, num_stages=2, hidden_sizes=[8, width], depths=[1, 1], num_labels=labels
    )
    return ConvNextForImageClassification(config)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    tiny().half().save_pretrained(folder)
    return folder


def test_all_weights_come_back_in_float32(saved: Path) -> None:
    model = load_weights(saved)
    stored = load_file(saved / "model.safetensors")
    assert not model.training and model.state_dict().keys() == stored.keys()
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, stored[key].float()), key


def test_missing_and_foreign_tensors_are_named(saved: Path, tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    stored["head.weight"] = stored.pop("convnext.layernorm.weight")
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"missing: convnext\.layernorm\.weight; unexpected: head\.weight\. Use"):
        load_weights(tmp_path)
    with pytest.raises(WeightsError, match=r"network; missing: convnext\.layernorm\.weight\. Use"):
        load_weights(tmp_path, new_classifier=True)
    with pytest.raises(WeightsError, match=r"of another shape: classifier\.bias, classifier\.weight\. Use"):
        load_weights(saved, config=tiny(labels=5).config)


def test_a_new_classifier_may_have_other_labels(saved: Path) -> None:
    model = load_weights(saved, new_classifier=True, config=tiny(labels=5).config)
    assert model.classifier.out_features == 5
    expected = load_weights(saved)
    assert torch.equal(model.convnext.layernorm.weight, expected.convnext.layernorm.weight)
    with pytest.raises(WeightsError, match=r"of another shape: .*convnext"):
        load_weights(saved, new_classifier=True, config=tiny(width=24).config)


def test_restored_weights_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    best = tiny()
    best.save_pretrained(tmp_path)
    model = copy.deepcopy(best)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    restore_weights(model, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), best.parameters(), strict=True))
    with pytest.raises(WeightsError, match="of another shape"):
        restore_weights(tiny(width=24), tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        restore_weights(model, tmp_path / "none")


def test_three_keys_of_a_kind_are_named() -> None:
    check_keys("here", missing=(), unexpected=set())
    with pytest.raises(
        WeightsError, match=r"^here: .*network; missing: a, b, c; unexpected: 1, 2, 3 and 2 more\. Use"
    ):
        check_keys("here", missing="cab", unexpected="53241")
    with pytest.raises(WeightsError, match=r"network; of another shape: a\. Use"):
        check_keys("here", missing=(), unexpected=(), reshaped="a")


def test_the_classifier_is_known_by_its_name() -> None:
    assert is_classifier("classifier.weight") and not is_classifier("vit.classifier.weight")
