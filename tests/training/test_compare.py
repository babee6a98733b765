import re

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tests.support.tiny_run import evaluate_model, make_run
from training.compare import compare, main, open_contender
from training.data.labels import EMOTIONS
from training.data.load import load_fer
from training.errors import CompareError
from training.evaluation.metrics import HEADLINE
from training.network.build import load_model
from training.reporting.comparison import Comparison, McNemar, comparison_figure, holm, mcnemar


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
    assert other.against_first == McNemar(only_first=0, only_this=0, p_value=1.0, p_value_holm=1.0)
    assert first.differences == {} and list(other.differences) == list(HEADLINE)
    for difference in other.differences.values():
        assert (difference.value, *difference.interval) == pytest.approx((0, 0, 0), abs=1e-6)
    for suffix in ("png", "svg"):
        assert (tmp_path / "figures" / f"comparison.{suffix}").stat().st_size > 5000
    assert first.parameters == other.parameters > 0
    assert other.weights_bytes == (shuffled / "model.safetensors").stat().st_size
    assert comparison.dataset.source == "fer2013.csv" and comparison.images == 14
    assert str(tmp_path) not in output.read_text()
    said = capsys.readouterr().out
    assert re.search(rf"{re.escape(str(shuffled))} +[+-]0\.0000 \[[+-]0\.0000, [+-]0\.0000\].* 1 +1\n", said)
    assert f"paired for the differences from {run}; p: exact McNemar test" in " ".join(said.split())


def test_mcnemar_counts_only_discordant_images():
    first = np.array([True] * 50 + [True] * 9 + [False] + [False] * 40)
    other = np.array([True] * 50 + [False] * 9 + [True] + [False] * 40)
    # Two-sided binomial: 2 * (1 + 10) / 2**10
    found = mcnemar(first, other)
    assert (found.only_first, found.only_this) == (9, 1)
    assert found.p_value == pytest.approx(22 / 1024)


def test_holm_corrects_for_the_number_of_models():
    p_values = [0.04, 0.001, 0.03, 0.8]
    found = [test.p_value_holm for test in holm([McNemar(0, 0, p, p) for p in p_values])]
    # 4 x 0.001, 3 x 0.03, then 2 x 0.04 = 0.08, which may not be below the one before
    assert found == pytest.approx([0.09, 0.004, 0.09, 0.8])
    assert holm([McNemar(3, 1, 0.7, 0.7)]) == [McNemar(3, 1, 0.7, 0.7)]
    assert [test.p_value_holm for test in holm([McNemar(0, 0, 0.7, 0.7)] * 2)] == [1, 1]


def test_differences_are_this_model_minus_the_first(run, shuffled, tiny_csv):
    """Three models, of which the last is random: a row and a correction for each but the first."""
    contenders = [open_contender(str(folder)) for folder in (run, shuffled, run)]
    torch.manual_seed(1)
    torch.nn.init.normal_(contenders[2].model.classifier.weight, std=1.0)
    comparison = compare(contenders, load_fer(tiny_csv), split="train")
    first, same, other = comparison.models
    for name, difference in other.differences.items():
        value = getattr(other.metrics, name) - getattr(first.metrics, name)
        assert difference.value == pytest.approx(value)
        assert difference.interval[0] <= value <= difference.interval[1], name
    assert other.differences["nll"].interval[0] < other.differences["nll"].interval[1]
    assert same.against_first.p_value == same.against_first.p_value_holm == 1
    assert other.against_first.p_value_holm == min(1, 2 * other.against_first.p_value)
    drawing = comparison_figure(comparison)
    value, (low, high) = (getattr(other.differences["accuracy"], name) for name in ("value", "interval"))
    assert drawing.alt.endswith(f"{other.name} {value:+.3f} ({low:+.3f} to {high:+.3f}).")
    accuracy = drawing.figure.axes[0]
    (segments,) = accuracy.collections
    assert segments.get_segments()[1][:, 0].tolist() == [low, high]


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
