import re

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tests.support.tiny_run import make_run
from training.compare import compare, main, open_contender
from training.data.labels import EMOTIONS
from training.data.load import load_fer
from training.errors import CompareError
from training.evaluate import evaluate_model
from training.network.build import load_model
from training.reporting.comparison import Comparison, McNemar, mcnemar


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def shuffled(run, tmp_path_factory):
    """The same model with its outputs in another order, under other spellings."""
    folder = tmp_path_factory.mktemp("shuffled")
    model, image_processor = load_model(run)
    order = [6, 2, 0, 1, 5, 4, 3]
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight[order].clone())
        model.classifier.bias.copy_(model.classifier.bias[order].clone())
    spelt = {"happy": "Happiness", "angry": "anger"}
    names = [spelt.get(EMOTIONS[index], EMOTIONS[index]) for index in order]
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    model.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    return folder


def test_same_model_in_another_label_order_is_equal(run, shuffled, tiny_csv, tmp_path, capsys):
    output = tmp_path / "comparison.json"
    main([str(run), str(shuffled), "--dataset", str(tiny_csv), "--split", "test", "--output", str(output)])
    comparison = TypeAdapter(Comparison).validate_json(output.read_bytes())
    first, other = comparison.models
    alone = evaluate_model(*load_model(run), load_fer(tiny_csv), split="test")[0]
    assert first.metrics.accuracy == alone.metrics.accuracy
    assert first.metrics.nll == pytest.approx(other.metrics.nll)
    assert first.against_first is None
    assert other.against_first == McNemar(only_first=0, only_this=0, p_value=1.0)
    assert first.parameters == other.parameters > 0
    assert other.weights_bytes == (shuffled / "model.safetensors").stat().st_size
    assert comparison.dataset.source == "fer2013.csv" and comparison.images == 14
    assert str(tmp_path) not in output.read_text()
    assert re.search(r"p: exact McNemar test against the first", capsys.readouterr().out)


def test_mcnemar_counts_only_discordant_images():
    first = np.array([True] * 50 + [True] * 9 + [False] + [False] * 40)
    other = np.array([True] * 50 + [False] * 9 + [True] + [False] * 40)
    # Two-sided binomial: 2 * (1 + 10) / 2**10
    found = mcnemar(first, other)
    assert (found.only_first, found.only_this) == (9, 1)
    assert found.p_value == pytest.approx(22 / 1024)


def test_other_label_sets_meet_on_what_they_share(run, tiny_people):
    data = load_fer(tiny_people)
    split = data["validation"]
    contenders = [open_contender(str(run), head) for head in ("ferplus", "fer2013")]
    comparison = compare(contenders, data)
    assert comparison.labels == list(EMOTIONS)
    contempt = split["label"][:].count(split.features["label"].names.index("contempt"))
    assert comparison.images == len(split) - contempt
    assert any("contempt left out, not known to all" in message for message in comparison.warnings)
    assert any(f"{contempt} images of contempt left out" in message for message in comparison.warnings)


def test_onnx_file_agrees_with_its_checkpoint(shuffled, tiny_csv, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")  # what torch exports with
    folder = tmp_path / "package"
    model, image_processor = load_model(shuffled)
    model.config.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    (folder / "onnx").mkdir()
    path = folder / "onnx" / "model.onnx"
    torch.onnx.export(
        model, (torch.zeros(2, 3, 48, 48),), path, input_names=["pixel_values"], output_names=["logits"],
        dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}}, external_data=False, verbose=False,
    )  # fmt: skip
    comparison = compare(
        [open_contender(str(m)) for m in (shuffled, path)], load_fer(tiny_csv), split="test", batch_size=5
    )
    checkpoint, onnx = comparison.models
    assert onnx.metrics.nll == pytest.approx(checkpoint.metrics.nll, abs=1e-4)
    assert onnx.parameters == checkpoint.parameters
    assert onnx.weights_bytes == path.stat().st_size
    path.write_bytes(b"no model")
    with pytest.raises(CompareError, match="expected an ONNX model, but onnxruntime says"):
        open_contender(str(path))


def test_errors_say_what_came(run, shuffled, tiny_csv, tmp_path):
    dataset = ["--dataset", str(tiny_csv)]
    with pytest.raises(SystemExit, match="expected two models or more to compare, got 1"):
        main([str(run), *dataset])
    with pytest.raises(SystemExit, match=r"nothing\.onnx: expected an ONNX file with config\.json"):
        main([str(run), str(tmp_path / "nothing.onnx"), *dataset])
    with pytest.raises(SystemExit, match="one of train, validation, test, got 'dev'"):
        main([str(run), str(shuffled), *dataset, "--split", "dev"])
    foreign = tmp_path / "foreign"
    model, image_processor = load_model(shuffled)
    model.config.id2label = {index: f"LABEL_{index}" for index in range(7)}
    model.save_pretrained(foreign)
    image_processor.save_pretrained(foreign)
    with pytest.raises(SystemExit, match=r"foreign: expected expressions such as happy .* got LABEL_0"):
        main([str(run), str(foreign), *dataset])
