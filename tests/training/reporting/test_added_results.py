"""Results that were measured elsewhere, on a made-up split called test, reach report, card and README of a package."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from training import card, evaluate
from training.files import sha256_of
from training.hub.package_check import check_report
from training.reporting.readme import render_results
from training.reporting.report import Report

NOTE = "Nothing was chosen on test: not the recipe, the checkpoint or the calibration."


@pytest.fixture(scope="module")
def measured(root: Path, tiny_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluate the shipped model on 14 made-up images, as somebody else would."""
    output = tmp_path_factory.mktemp("elsewhere") / "test.json"
    options = ["--dataset", str(tiny_csv), "--split", "test", "--flip_tta", "--output", str(output)]
    evaluate.main([str(root / "model_card" / "fer2013"), *options])
    return output


@pytest.fixture
def package(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "fer2013"
    folder.mkdir(parents=True)
    for name in ("README.md", "report.json", "model.safetensors"):
        shutil.copy(root / "model_card" / "fer2013" / name, folder)
    return folder


def test_test_split_stands_beside_validation(package: Path, measured: Path) -> None:
    before, added = Report.load(package / "report.json"), Report.load(measured)
    card.main([str(package), "--add", str(measured)])
    report = Report.load(package / "report.json")
    assert report.results[:4] == before.results
    assert report.results[4:] == [replace(result, figures=[]) for result in added.results]
    assert [(result.split, result.tta, result.subset) for result in report.results[4:]] == [
        ("test", tta, subset) for tta in ("none", "flip") for subset in ("all", "unseen_pixels")
    ]
    assert replace(report, results=[], files={}) == replace(before, results=[], files={})
    text = (package / "README.md").read_text()
    assert report.files["README.md"] == sha256_of(package / "README.md")
    assert (
        text.index("On validation:") < text.index("On test:") < text.index(NOTE) < text.index("By class (validation")
    )
    accuracy = added.results[0].metrics.accuracy
    entries = ModelCard(text).data.eval_results
    assert any(e.dataset_split == "test" and e.metric_value == pytest.approx(accuracy, abs=5e-5) for e in entries)
    assert check_report(package, report.results[0].labels) == []
    table = render_results(package.parent)
    assert f"| `fer2013` on test (n = 14) | {accuracy:.3f} (" in table and table.endswith(f"\n\n{NOTE}")


def test_nothing_is_said_without_such_results(package: Path) -> None:
    text = (package / "README.md").read_text()
    card.main([str(package)])
    assert (package / "README.md").read_text() == text
    assert "Nothing was chosen" not in text + render_results(package.parent)


def test_results_added_again_are_replaced(package: Path, measured: Path, tmp_path: Path) -> None:
    card.main([str(package), "--add", str(measured)])
    report = Report.load(measured)
    other = replace(report.results[0], dataset=replace(report.results[0].dataset, fingerprint="other"))
    replace(report, results=[other]).save(tmp_path / "again.json")
    card.main([str(package), "--add", str(tmp_path / "again.json")])
    results = [result for result in Report.load(package / "report.json").results if result.split == "test"]
    assert [result.dataset.fingerprint for result in results] == ["other"]


def test_results_that_do_not_fit_are_refused(package: Path, measured: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in package.iterdir()}
    report = Report.load(measured)
    first = report.results[0]
    trained_on = Report.load(package / "report.json").training.dataset.fingerprint["train"]
    other_labels = replace(first, labels=[*first.labels[:-1], "contempt"])
    changes = {
        r"expected results of the weights \w{16} of .*, got those of 0{16} ": replace(
            report, model=replace(report.model, weights_sha256="0" * 64)
        ),
        "expected results, got none": replace(report, results=[]),
        "nothing was chosen on, got validation of": replace(report, results=[replace(first, split="validation")]),
        "nothing was chosen on, got test of": replace(
            report, results=[replace(first, dataset=replace(first.dataset, fingerprint=trained_on))]
        ),
        "got .*, contempt": replace(report, results=[other_labels]),
    }
    path = tmp_path / "other.json"
    for message, changed in changes.items():
        changed.save(path)
        with pytest.raises(SystemExit, match=message):
            card.main([str(package), "--add", str(path)])
    path.write_text(json.dumps({"results": []}))
    with pytest.raises(SystemExit, match="expected schema_version 2"):
        card.main([str(package), "--add", str(path)])
    assert {file.name: file.read_bytes() for file in package.iterdir()} == before
