import copy
import re

import pytest
from huggingface_hub import ModelCard

from tests.training.tiny_run import make_run
from training.card import CardError, main, render_card
from training.package import PackageArguments, package
from training.report import load_report, write_report


@pytest.fixture(scope="module")
def packaged(tiny_csv, tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"))
    return package(run, tmp_path_factory.mktemp("model_card") / "fer2013", PackageArguments(dataset=str(tiny_csv)))


@pytest.fixture
def report(packaged):
    return load_report(packaged / "report.json")


def test_package_has_the_card_of_its_report(packaged, report):
    assert (packaged / "README.md").read_text() == render_card(report) + "\n"


def test_metadata_is_what_the_hub_reads(packaged, report):
    data = ModelCard.load(packaged / "README.md").data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "image-classification",
    )
    assert data.datasets == ["fer2013"] and "accuracy" in data.metrics
    accuracy = next(r for r in data.eval_results if r.metric_name == "Accuracy")
    metrics = report["results"][0]["metrics"]
    assert accuracy.metric_value == pytest.approx(metrics["accuracy"], abs=1e-4)
    assert (accuracy.dataset_split, accuracy.metric_type) == ("validation", "accuracy")
    assert accuracy.dataset_revision == report["results"][0]["dataset"]["revision"]
    assert {r.metric_name for r in data.eval_results} > {"Macro F1", "Accuracy (flip TTA)"}


def test_every_number_comes_from_the_report(report):
    changed = copy.deepcopy(report)
    result = changed["results"][0]
    result["metrics"]["accuracy"], result["intervals"]["accuracy"] = 0.8765, [0.8761, 0.8769]
    result["metrics"]["per_class"]["fear"]["recall"] = 0.4321
    result["counts"]["pictures"] = 4242
    changed["calibration"]["temperature"] = 1.2345
    changed["model"]["parameters"] = 98_700_000
    changed["training"]["seed"] = 77
    changed["training"]["energy"]["kwh"] = 0.37
    result["figures"][0]["alt"] = "Drawn anew."
    before, after = render_card(report), render_card(changed)
    for text in (
        "0.8765",
        "0.876 (0.876-0.877)",
        "| 0.432 |",
        "n = 4,242",
        "1.234",
        "98.7 M",
        "seed 77",
        "0.37 kWh",
        "![Drawn anew.](",
    ):
        assert text in after and text not in before, text


def test_added_split_appears_on_the_card(packaged, report, tmp_path, capsys):
    extra = copy.deepcopy(report["results"][0]) | {"split": "test"}
    extra["metrics"]["accuracy"] = 0.7311
    write_report({**report, "results": [extra, *report["results"]]}, tmp_path / "report.json")
    main([str(tmp_path)])
    card = ModelCard.load(tmp_path / "README.md")
    assert any(r.dataset_split == "test" and r.metric_value == 0.7311 for r in card.data.eval_results)
    assert "| test, n = 14 |" in card.text
    assert "By class (validation" in card.text  # the split the model was calibrated on stays the reference


def test_spoilt_pictures_appear_on_the_card(report):
    rows = [
        {"corruption": "low_light", "strength": s, "unit": "share", "accuracy": a}
        for s, a in ((0.5, 0.61), (0.25, 0.5))
    ]
    figures = [{"name": "robustness", "file": "figures/robustness.png", "title": "", "alt": "Spoilt."}]
    table = {"split": "validation", "pictures": 500, "unspoilt": {"accuracy": 0.654}, "rows": rows, "figures": figures}
    card = render_card({**report, "robustness": table})
    assert "| low light | share | 0.5: 0.610 | 0.25: 0.500 |" in card
    assert "![Spoilt.](figures/robustness.png)" in card and "as they are: 0.654" in card
    assert "spoilt" not in render_card(report)


def test_base_model_is_named_only_where_it_is_on_the_hub(report):
    for name, expected in (("google/vit-base-patch16-224-in21k", "google/vit-base-patch16-224-in21k"), ("vit", None)):
        report["training"]["recipe"]["model_name_or_path"] = name
        assert ModelCard(render_card(report)).data.base_model == expected


def test_quick_start_runs_as_pasted(packaged, report, capsys):
    report["model"]["name"] = packaged.as_posix()
    code = re.search(r"```python\n(.*?)```", render_card(report), re.DOTALL)[1]
    exec(code, {})  # noqa: S102  (our own card)
    assert len(capsys.readouterr().out.strip().splitlines()) == 7


def test_card_says_what_it_must(report):
    card = render_card(report)
    for words in ("apparent expression", "Article 5(1)(f)", "Article 50(3)", "stores no pictures", "## Limits"):
        assert words in card


def test_bare_evaluation_makes_no_card(report, tmp_path):
    del report["calibration"]
    with pytest.raises(CardError, match="packaged model, got one without calibration"):
        render_card(report)
    with pytest.raises(SystemExit, match="expected a report at"):
        main([str(tmp_path)])
