import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.special import softmax
from transformers import pipeline

from gradio_ui.recognition.classifier import Classifier
from tests.support.dataset_fixtures import USAGES, face, write_csv
from tests.support.tiny_run import evaluate_model, make_run
from training import evaluate as module
from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS
from training.data.load import load_fer
from training.errors import EvaluationError, ReportError
from training.evaluate import EvaluateArguments, evaluate, main
from training.evaluation.predictions import predict
from training.files import sha256_of
from training.network.build import load_model
from training.reporting.report import Report

CURVES = ("roc", "precision_recall", "reliability", "coverage")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def loaded(run):
    return load_model(run)


@pytest.fixture
def folder(run, tmp_path):
    """The run with only one head and an RGB stem, so that `pipeline` serves it too."""
    model, image_processor = load_model(run)
    model.save_pretrained(tmp_path / "model")
    image_processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def undrawn(monkeypatch):
    """Saves the time that figures take."""
    monkeypatch.setattr(module, "draw", lambda *_: [])


def test_report_agrees_with_pipeline(folder, tiny_csv, faces, capsys):
    main([str(folder), "--dataset", str(tiny_csv), "--split", "test"])
    assert "accuracy" in capsys.readouterr().out
    result = Report.load(folder / "report.json").find(head="fer2013", split="test")
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    hits = [
        classify(Image.fromarray(pixels), top_k=1)[0]["label"] == EMOTIONS[label]
        for split, label, pixels in faces
        if split == "test"
    ]
    assert (result.counts.images, result.counts.left_out) == (14, 0)
    assert result.metrics.accuracy == pytest.approx(np.mean(hits))
    low, high = result.intervals.accuracy
    assert low <= result.metrics.accuracy <= high
    assert {entry.name for entry in result.figures} == {"confusion_matrix", "per_class", *CURVES}
    for entry in result.figures:
        assert (folder / entry.file).exists() and (folder / entry.file).with_suffix(".svg").exists()
    assert result.dataset.source == "fer2013.csv" and result.dataset.rows == 14


def test_labels_map_by_name(loaded, tiny_csv, tiny_repo):
    by_code, by_alphabet = (
        evaluate_model(*loaded, load_fer(source), split="validation")[0].metrics for source in (tiny_csv, tiny_repo)
    )
    assert by_code == by_alphabet


def test_pixels_are_those_of_pipeline_and_app(folder, tiny_csv, monkeypatch):
    seen = []

    def spy(model):
        model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True)
        return model

    model, image_processor = load_model(folder)
    split = load_fer(tiny_csv)["validation"].select([0])
    predict(spy(model), image_processor, split)
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    spy(classify.model)
    classify(split[0]["image"])
    classifier = Classifier.from_pretrained(folder, device="cpu")
    spy(classifier.backend.model)
    classifier([np.asarray(split[0]["image"].convert("RGB"))])
    evaluated, piped, served = seen
    assert evaluated.shape == (1, 3, 48, 48)
    assert torch.equal(evaluated, piped) and torch.equal(evaluated, served)


def test_flip_averages_image_and_mirror_image(loaded, tiny_csv):
    data = load_fer(tiny_csv)
    logits = predict(*loaded, data["validation"], mirror=True, batch_size=5)
    mirrored = data["validation"].map(lambda row: {"image": ImageOps.mirror(row["image"])})
    np.testing.assert_allclose(logits[1], predict(*loaded, mirrored)[0], atol=1e-5)
    results = evaluate_model(*loaded, data, split="validation", flip_tta=True)
    flip = next(r for r in results if r.tta == "flip" and r.subset == "all")
    y = np.array(data["validation"]["label"][:])
    assert flip.metrics.nll == pytest.approx(-np.log(softmax(logits, axis=-1).mean(axis=0)[np.arange(14), y]).mean())


def test_images_seen_in_train_are_left_out(loaded, csv_rows, tmp_path):
    train = next(row for row in csv_rows if row[2] == USAGES["train"])
    path = write_csv(tmp_path / "fer2013.csv", [*csv_rows, [*train[:2], USAGES["validation"]]])
    whole, unseen = evaluate_model(*loaded, load_fer(path), split="validation")
    assert (whole.subset, unseen.subset) == ("all", "unseen_pixels")
    assert (whole.counts.images, unseen.counts.images) == (15, 14)


def test_ferplus_head_is_measured_against_the_votes(run, csv_rows, tiny_csv, tiny_votes, tmp_path):
    lines = tiny_votes.read_text().splitlines()
    undecided = next(i for i, line in enumerate(lines) if line.startswith(USAGES["validation"]))
    lines[undecided] = f"{USAGES['validation']},fer.png,3,3,3,0,0,0,0,0,1,0"
    (tmp_path / "votes.csv").write_text("\n".join(lines))
    data = load_fer(tiny_csv, ferplus=tmp_path / "votes.csv")
    result = evaluate_model(*load_model(run, "ferplus"), data, split="validation", head="ferplus")[0]
    assert result.labels == list(FERPLUS_EMOTIONS)
    assert (result.counts.images, result.counts.left_out) == (13, 1)
    assert "1 images without a FER+ majority left out" in result.warnings
    assert any("no images of contempt" in message for message in result.warnings)
    assert result.metrics.vote_cross_entropy > 0


def test_unknown_class_of_the_data_is_named(loaded, tiny_people):
    data = load_fer(tiny_people)
    result = evaluate_model(*loaded, data, split="validation")[0]
    contempt = data["validation"].features["label"].names.index("contempt")
    count = data["validation"]["label"][:].count(contempt)
    assert count and result.counts.left_out == count
    assert f"{count} images of contempt left out: the model has no such label" in result.warnings


def test_dropped_rows_and_missing_votes_are_warned_of(run, csv_rows, tmp_path):
    bad = [9, csv_rows[0][1], USAGES["validation"]]
    data = load_fer(write_csv(tmp_path / "fer2013.csv", [*csv_rows, bad]), skip_bad_rows=True)
    result = evaluate_model(*load_model(run, "ferplus"), data, split="validation", head="ferplus")[0]
    assert "1 bad rows of the dataset dropped: emotion" in result.warnings
    assert "no FER+ votes given: measured against the labels of the dataset" in result.warnings
    assert result.dataset.reference == "label" and result.metrics.vote_cross_entropy is None


def test_report_collects_splits_of_the_same_weights(folder, tiny_csv, undrawn):
    for split in ("validation", "test", "validation"):
        evaluate(str(folder), EvaluateArguments(dataset=str(tiny_csv), split=split))
    results = Report.load(folder / "report.json").results
    assert sorted((r.split, r.subset) for r in results) == [
        (split, subset) for split in ("test", "validation") for subset in ("all", "unseen_pixels")
    ]
    model, _ = load_model(folder)
    model.classifier.weight.data.mul_(2)
    model.save_pretrained(folder)
    evaluate(str(folder), EvaluateArguments(dataset=str(tiny_csv), split="test"))
    assert {r.split for r in Report.load(folder / "report.json").results} == {"test"}


def test_results_on_other_images_are_not_mixed_in(folder, tiny_csv, csv_rows, tmp_path, undrawn):
    main([str(folder), "--dataset", str(tiny_csv), "--split", "validation"])
    before = (folder / "report.json").read_bytes()
    other = write_csv(tmp_path / "other.csv", [row for row in csv_rows if row[2] != "PublicTest" or row[0] < 6])
    with pytest.raises(SystemExit, match=r"holds results on validation .* Give --output another file"):
        main([str(folder), "--dataset", str(other), "--split", "validation"])
    assert (folder / "report.json").read_bytes() == before


@pytest.mark.slow
def test_robustness_survives_the_next_evaluation(folder, tiny_csv, undrawn, capsys):
    options = [str(folder), "--dataset", str(tiny_csv), "--split"]
    main([*options, "test", "--robustness", "--robustness_images", "3"])
    printed = capsys.readouterr().out
    main([*options, "validation"])
    assert "under corruptions" in printed and "under corruptions" not in capsys.readouterr().out
    report = Report.load(folder / "report.json")
    assert report.robustness.images == 3 and len(report.robustness.rows) == 32
    assert f"3 images of test, clean {report.robustness.clean.accuracy:.4f}" in printed
    jpeg = [f"{row.severity:g}: {row.accuracy:.4f}" for row in report.robustness.rows if row.corruption == "jpeg"]
    assert re.search(rf"  jpeg {{2,}}{' +'.join(jpeg)} +\(quality\)\n", printed)
    assert (folder / report.robustness.figures[0].file).exists()
    assert report.find(head="fer2013", split="test") and report.find(head="fer2013", split="validation")


def test_checksums_follow_the_figures(folder, tiny_csv, monkeypatch):
    def draw(predictions, result, model, figures, root):
        figures.mkdir(exist_ok=True)
        (figures / "a.png").write_text("redrawn")
        return []

    monkeypatch.setattr(module, "draw", draw)
    arguments = EvaluateArguments(dataset=str(tiny_csv), split="test")
    evaluate(str(folder), arguments)
    assert Report.load(folder / "report.json").files == {}  # no package, no checksums
    (folder / "figures" / "a.png").write_text("old")
    Report.load(folder / "report.json").with_files(folder).save(folder / "report.json")
    before = Report.load(folder / "report.json").files
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    evaluate(str(folder), arguments)
    after = Report.load(folder / "report.json").files
    assert after["figures/a.png"] == sha256_of(folder / "figures" / "a.png") != before["figures/a.png"]
    assert after == before | {"figures/a.png": after["figures/a.png"]}  # what else changed stays noticeable


def test_run_folder_gets_its_curves(run, tiny_csv, tmp_path, undrawn):
    evaluate(str(run), EvaluateArguments(dataset=str(tiny_csv), output=str(tmp_path / "report.json")))
    assert (tmp_path / "figures" / "training_curves.png").exists()


def test_errors_say_what_came(loaded, folder, tiny_csv, tmp_path):
    data = load_fer(tiny_csv)
    with pytest.raises(EvaluationError, match="one of train, validation, test, got 'dev'"):
        evaluate_model(*loaded, data, split="dev")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {index: f"LABEL_{index}" for index in config["id2label"]}
    shutil.copytree(folder, tmp_path / "foreign")
    (tmp_path / "foreign" / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit, match=r"foreign: expected expressions such as happy .*, got LABEL_0, LABEL_1"):
        main([str(tmp_path / "foreign"), "--dataset", str(tiny_csv)])
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        main([str(tmp_path / "nowhere"), "--dataset", str(tiny_csv)])


def test_broken_weights_are_an_error_not_a_zero(folder, tiny_csv):
    model, image_processor = load_model(folder)
    model.classifier.bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="expected finite probabilities"):
        evaluate_model(model, image_processor, load_fer(tiny_csv), split="test")
    assert not (folder / "report.json").exists()


def test_unknown_report_schema_is_refused(tmp_path):
    (tmp_path / "report.json").write_text('{"schema_version": 99}')
    with pytest.raises(ReportError, match="expected schema_version 2 or 1, got 99"):
        Report.load(tmp_path / "report.json")


def test_color_images_are_read_as_pipeline_does(folder, tmp_path):
    for label, name in enumerate(EMOTIONS):
        for index, split in enumerate(("train", "train", "test")):
            path = tmp_path / "set" / split / name / f"{USAGES['test']}_{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(face(label, 50 + index)).resize((70, 61)).convert("RGBA")
            image.save(path)
    data = load_fer(tmp_path / "set")
    logits = predict(*load_model(folder), data["test"])[0]
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    best = classify(data["test"][0]["image"], top_k=1)[0]
    assert best["score"] == pytest.approx(softmax(logits[0]).max(), abs=1e-5)
