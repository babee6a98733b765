import json
from dataclasses import fields, replace

import pytest

from training.errors import ReportError
from training.files import sha256_of
from training.reporting.report import Report


@pytest.fixture(scope="module")
def published(root):
    """A report of schema 1, as it was once published: its file and its JSON."""
    path = root / "tests/training/reporting/report_schema_1.json"
    return path, json.loads(path.read_text())


@pytest.fixture
def report(root):
    return Report.load(root / "model_card/fer2013/report.json")


def with_value(path, place, value, folder):
    """Write a report with one value set, and return its path."""
    found = json.loads(path.read_text())
    *parents, last = place
    entry = found
    for name in parents:
        entry = entry[name]
    entry[last] = value
    (folder / "report.json").write_text(json.dumps(found))
    return folder / "report.json"


def test_published_report_loads_number_by_number(published):
    path, found = published
    report = Report.load(path)
    for result, raw in zip(report.results, found["results"], strict=True):
        assert result.counts.images == raw["counts"]["pictures"]
        for name, value in raw["metrics"].items():
            if name != "per_class":
                assert getattr(result.metrics, name) == value
        for name, (low, high) in raw["intervals"].items():
            assert getattr(result.intervals, name) == (low, high)
        assert result.metrics.per_class["fear"].recall == raw["metrics"]["per_class"]["fear"]["recall"]
    assert report.calibration.images == found["calibration"]["pictures"]
    assert report.data.grayscale == found["data"]["greyscale"] and report.data.images == found["data"]["pictures"]
    assert report.data.relabeled == found["data"]["relabelled"]
    assert report.robustness.clean.accuracy == found["robustness"]["unspoilt"]["accuracy"]
    assert [row.severity for row in report.robustness.rows] == [r["strength"] for r in found["robustness"]["rows"]]
    assert [(v.latency_ms, v.batch_latency_ms) for v in report.onnx] == [(v["one"], v["many"]) for v in found["onnx"]]
    assert report.training.cpu_seconds == found["training"]["energy"]["cpu_seconds"]
    assert report.training.earlier["runs/convnext"].cpu_seconds is None
    assert report.training.recipe == found["training"]["recipe"]  # under the names that arguments had then


def test_saved_report_loads_as_it_was(published, tmp_path):
    report = Report.load(published[0])
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report
    assert json.loads((tmp_path / "report.json").read_text())["schema_version"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("extra",), 1, "unknown field extra"),
        (("results", 0, "metrics", "kappa"), 0.5, r"unknown field results\.0\.metrics\.kappa"),
        (("results", 0, "metrics", "accuracy"), "0.7", r"results\.0\.metrics\.accuracy: .*valid number, got '0\.7'"),
        (("results", 0, "metrics", "accuracy"), 1.7, r"accuracy: .*less than or equal to 1, got 1\.7"),
        (("results", 0, "metrics", "ece"), None, r"results\.0\.metrics\.ece: .*valid number, got None"),
        (("results", 0, "dataset", "rows"), "3589", r"results\.0\.dataset\.rows: .*valid integer"),
        (("results", 0, "tta"), "zoom", r"results\.0\.tta: .*'none' or 'flip'"),
        (("results", 0, "intervals", "nll"), [1.0], r"results\.0\.intervals\.nll"),
        (("model",), {"name": "x"}, r"missing field model\.architecture"),
    ],
)
def test_field_that_is_wrong_is_named(root, report, tmp_path, schema, place, value, message):
    path = root / "model_card/fer2013/report.json"
    if schema == 2:
        report.save(tmp_path / "whole.json")
        path = tmp_path / "whole.json"
    with pytest.raises(ReportError, match=message):
        Report.load(with_value(path, place, value, tmp_path))


def test_file_that_is_no_report_is_refused(tmp_path):
    path = tmp_path / "report.json"
    with pytest.raises(ReportError, match=r"expected a report at .*; run training\.evaluate first"):
        Report.load(path)
    for text in ("{", "[]", '{"schema_version": 3}', '{"schema_version": "1"}'):
        path.write_text(text)
        with pytest.raises(ReportError, match="expected"):
            Report.load(path)


def test_folders_of_this_machine_are_cut(report, tmp_path):
    local = replace(report, model=replace(report.model, name=str(tmp_path / "mine")))
    local.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").model.name == "mine"
    assert str(tmp_path) not in (tmp_path / "report.json").read_text()


def test_checksums_cover_the_package(report, tmp_path):
    for name in ("config.json", "figures/a.png", "report.json", ".cache/x", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    summed = report.with_files(tmp_path)
    assert summed.files == {name: sha256_of(tmp_path / name) for name in ("config.json", "figures/a.png")}
    (tmp_path / "config.json").write_text("changed")
    (tmp_path / "figures/a.png").write_text("tampered with")
    renewed = summed.with_files(tmp_path, [tmp_path / "config.json"])
    assert renewed.files == summed.files | {"config.json": sha256_of(tmp_path / "config.json")}
    older = replace(report, files={})
    assert older.with_files(tmp_path, [tmp_path / "config.json"]).files == {}  # it stays without


def test_merging_keeps_what_is_not_measured_again(report):
    first, *_ = report.results
    fresh = replace(
        Report(model=report.model, results=[replace(first, seconds=1.0)], environment=report.environment),
        environment=replace(report.environment, device="cuda:0"),
    )
    merged = report.merged_with(fresh)
    assert len(merged.results) == len(report.results) and merged.results[-1].seconds == 1.0
    assert merged.environment.device == "cuda:0"
    for item in fields(report):
        if item.name not in ("results", "environment"):
            assert getattr(merged, item.name) == getattr(report, item.name), item.name
    other = replace(fresh, model=replace(report.model, weights_sha256="0" * 64))
    assert report.merged_with(other) == other
