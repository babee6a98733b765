"""Predictions: every image once and in order, references by name, and what is left out is said."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as PILImage

from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS, VOTES
from training.errors import EvaluationError, LabelError
from training.evaluation.predictions import (
    Predictions,
    check_expressions,
    classify,
    head_of,
    labels_of,
    launched_processes,
    predict,
    references,
    shared_outputs,
    votes_of,
)

NAMES = ["Anger", "happy", "sad"]


class Corners(torch.nn.Module):
    """Logits that are the values of two corners, so that each image and its mirror image can be told."""

    def __init__(self, labels: list[str]) -> None:
        super().__init__()
        self.config = SimpleNamespace(id2label=dict(enumerate(labels)))
        self.device, self.batches, self.count = torch.device("cpu"), [], len(labels)

    def forward(self, pixel_values: torch.Tensor) -> Any:
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append(len(pixel_values))
        left, right = pixel_values[:, 0, 0, 0], pixel_values[:, 0, 0, -1]
        return SimpleNamespace(logits=torch.stack([left, right, *[left * 0] * (self.count - 2)], dim=1))


def processor(images: list[Any], return_tensors: str) -> dict[str, torch.Tensor]:
    assert return_tensors == "pt"
    return {"pixel_values": torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1).float() for one in images])}


def split_of(labels: list[int], names: list[str], votes: list[list[int]] | None = None) -> Dataset:
    """Images whose left edge is their number and whose right edge is 100 more."""
    images = []
    for number in range(len(labels)):
        pixels = np.full((2, 3, 3), number, np.uint8)
        pixels[:, -1] += 100
        images.append(PILImage.fromarray(pixels))
    columns: dict[str, Any] = {"image": images, "label": labels}
    features: dict[str, Any] = {"image": Image(), "label": ClassLabel(names=names)}
    if votes is not None:
        columns["votes"], features["votes"] = votes, List(Value("int32"), length=len(VOTES))
    return Dataset.from_dict(columns, features=Features(features))


def counts(**chosen: int) -> list[int]:
    return [chosen.get(name, 0) for name in VOTES]


def test_every_image_is_classified_once_and_in_order() -> None:
    split, model = split_of([0, 1, 2, 0, 1], NAMES), Corners(NAMES).train()
    logits = predict(model, processor, split, mirror=True, batch_size=2)
    assert logits.shape == (2, 5, 3) and logits.dtype == np.float64
    assert logits[0].tolist() == [[n, n + 100, 0] for n in range(5)]
    assert logits[1].tolist() == [[n + 100, n, 0] for n in range(5)]
    assert model.batches == [2, 2, 2, 2, 1, 1]
    assert predict(model, processor, split, batch_size=64).tolist() == logits[:1].tolist()


def test_one_process_unless_a_launcher_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched_processes() == (1, 0)
    monkeypatch.setattr(
        "training.evaluation.predictions.PartialState", lambda: SimpleNamespace(num_processes=3, process_index=2)
    )
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launched_processes() == (1, 0)
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert launched_processes() == (3, 2)


def test_a_process_takes_every_so_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    split, model = split_of([0] * 7, NAMES), Corners(NAMES)
    mine = {}
    for rank in range(2):
        monkeypatch.setattr("training.evaluation.predictions.launched_processes", lambda rank=rank: (2, rank))
        monkeypatch.setattr(
            "training.evaluation.predictions.gather_object", lambda batches, rank=rank: mine.setdefault(rank, batches)
        )
        predict(model, processor, split, batch_size=2)
    assert [[start for start, _ in mine[rank]] for rank in range(2)] == [[0, 4], [2, 6]]
    monkeypatch.setattr("training.evaluation.predictions.gather_object", lambda _: mine[1] + mine[0])
    assert predict(model, processor, split, batch_size=2)[0, :, 0].tolist() == list(range(7))


def test_references_match_by_name() -> None:
    index, messages = references(split_of([0, 1, 1, 2], ["happiness", "bored", "anger"]), NAMES, "fer2013")
    assert index.tolist() == [1, -1, -1, 0] and index.dtype == np.int64
    assert messages == ["2 images of bored left out: the model has no such label"]
    assert references(split_of([1, 0], ["sad", "happy"]), NAMES, "fer2013")[1] == []
    with pytest.raises(
        EvaluationError, match=r"of Anger, happy, sad, got 1 images and none of those: .*1 images of b"
    ):
        references(split_of([0], ["bored"]), NAMES, "fer2013")


def test_references_are_the_majority_of_the_votes() -> None:
    votes = [counts(sad=9), counts(happy=5, sad=5), counts(contempt=10), counts(angry=7, happy=3)]
    split = split_of([1, 1, 1, 1], list(EMOTIONS), votes)
    index, messages = references(split, NAMES, "ferplus")
    assert index.tolist() == [2, -1, -1, 0]
    assert messages == [
        "1 images without a FER+ majority left out",
        "1 images of contempt left out: the model has no such label",
    ]
    assert references(split_of([3], list(EMOTIONS), [counts(sad=9)]), NAMES, "fer2013")[0].tolist() == [1]
    assert references(split_of([3], list(EMOTIONS)), NAMES, "ferplus")[0].tolist() == [1]


def test_outputs_that_the_dataset_could_have_count() -> None:
    labels = ["contempt", "Anger", "bored"]
    plain, voted = split_of([0], ["happy"]), split_of([0], ["happy"], [counts(happy=9)])
    assert shared_outputs(plain, labels, "fer2013") == shared_outputs(plain, labels, "ferplus") == [1]
    assert shared_outputs(voted, labels, "ferplus") == [0, 1] and shared_outputs(voted, labels, "fer2013") == [1]
    assert shared_outputs(split_of([0], ["Bored"]), labels, "fer2013") == [1, 2]


def test_classes_that_only_one_side_has_are_left_out() -> None:
    split = split_of([0, 1, 2], ["happy", "bored", "anger"])
    model = Corners(["angry", "happy", "contempt"])
    found = classify(model, processor, DatasetDict(test=split), split="test", flip_tta=True)
    assert found.labels == ["angry", "happy"] and found.references.tolist() == [1, 0]
    assert found.logits.tolist() == [[[0, 100], [2, 102]], [[100, 0], [102, 2]]]
    assert len(found.images) == 2 and 0 <= found.seconds < 60
    assert found.left_out == [
        "contempt left out: the dataset has no such class, the others share its probability",
        "1 images of bored left out: the model has no such label",
    ]
    with pytest.raises(EvaluationError, match="expected --split to be one of test, got 'validation'"):
        classify(model, processor, DatasetDict(test=split), split="validation")


def test_votes_are_in_the_order_of_the_labels() -> None:
    voted = split_of([0, 0], ["happy"], [counts(happy=7, sad=2, unknown=1), counts(angry=10)])

    def found(images: Dataset) -> Predictions:
        return Predictions(["sad", "Happiness"], images, np.zeros(2), np.zeros((1, 2, 2)), [], 0.0)

    assert votes_of(found(voted), "ferplus").tolist() == [[2, 7], [0, 0]]
    assert votes_of(found(voted), "fer2013") is None
    assert votes_of(found(voted.remove_columns("votes")), "ferplus") is None


def model_of(labels: dict[Any, str], **config: Any) -> Any:
    return SimpleNamespace(config=SimpleNamespace(id2label=labels, **config))


def test_labels_and_head_are_those_of_the_config() -> None:
    assert labels_of(model_of({1: "b", 0: "a", 2: "c"})) == ["a", "b", "c"]
    assert labels_of(model_of(None)) == []
    assert head_of(model_of({}, provenance={"head": "ferplus"})) == "ferplus"
    assert head_of(model_of({}, provenance=None)) == head_of(model_of({})) == "fer2013"


@pytest.mark.parametrize(
    ("labels", "shown"),
    [(["cat", "dog"], "cat, dog$"), ([*"abcde"], "a, b, c, d, e$"), ([*"abcdef"], r"a, b, c, d, e, \.\.\.$")],
)
def test_a_classifier_of_something_else_is_refused(labels: list[str], shown: str) -> None:
    with pytest.raises(LabelError, match=rf"^pets: expected expressions .*got {shown}"):
        check_expressions(model_of(dict(enumerate(labels))), "pets")
    check_expressions(model_of(dict(enumerate(labels))), "pets", ours=True)
    check_expressions(model_of(dict(enumerate(labels)), provenance={"head": "fer2013"}), "pets")
    check_expressions(model_of(dict(enumerate([*labels, FERPLUS_EMOTIONS[-1].upper()]))), "faces")
