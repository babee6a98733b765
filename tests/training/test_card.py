import re
from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from transformers import pipeline

from tests.support.tiny_run import make_run
from training.card import main, render_card
from training.errors import CardError
from training.evaluation.results import (
    CoreIntervals,
    CoreMetrics,
    CorruptionMetrics,
    FigureRecord,
    Gap,
    GroupedBy,
    Robustness,
    Subgroup,
    Subgroups,
)
from training.package import PackageArguments, package
from training.reporting.records import LocalBase
from training.reporting.report import OnnxVariant, Report, RunData, SplitInfo


@pytest.fixture(scope="module")
def packaged(tiny_csv, tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"))
    return package(run, tmp_path_factory.mktemp("model_card") / "fer2013", PackageArguments(dataset=str(tiny_csv)))


@pytest.fixture
def report(packaged):
    return Report.load(packaged / "report.json")


def test_package_has_the_card_of_its_report(packaged, report):
    assert (packaged / "README.md").read_text() == render_card(report) + "\n"


def test_metadata_is_what_the_hub_reads(packaged, report):
    data = ModelCard.load(packaged / "README.md").data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "unknown",
        "transformers",
        "image-classification",
    )
    assert data.datasets == ["fer2013"] and "accuracy" in data.metrics
    accuracy = next(r for r in data.eval_results if r.metric_name == "Accuracy")
    metrics = report.results[0].metrics
    assert accuracy.metric_value == pytest.approx(metrics.accuracy, abs=1e-4)
    assert (accuracy.dataset_split, accuracy.metric_type) == ("validation", "accuracy")
    assert accuracy.dataset_revision == report.results[0].dataset.revision
    assert {r.metric_name for r in data.eval_results} > {"Macro F1", "Accuracy (flip TTA)"}


def test_every_number_comes_from_the_report(report):
    first, *others = report.results
    metrics = replace(
        first.metrics,
        accuracy=0.8765,
        per_class=first.metrics.per_class | {"fear": replace(first.metrics.per_class["fear"], recall=0.4321)},
    )
    figures = [replace(first.figures[0], alt="Another text."), *first.figures[1:]]
    result = replace(
        first,
        metrics=metrics,
        intervals=replace(first.intervals, accuracy=(0.8761, 0.8769)),
        counts=replace(first.counts, images=4242),
        figures=figures,
    )
    changed = replace(
        report,
        results=[result, *others],
        calibration=replace(report.calibration, after=replace(report.calibration.after, ece=0.1234)),
        data=replace(report.data, seen_in_train=31),
        model=replace(report.model, parameters=98_700_000),
        training=replace(report.training, seed=77, cpu_seconds=37 * 3600.0),
    )
    before, after = render_card(report), render_card(changed)
    for text in (
        "0.8765",
        "0.876 (0.876-0.877)",
        "| 0.432 |",
        "n = 4,242",
        "| 0.123 |",
        "31 of 14 images of validation",
        "98.7 M",
        "seed 77",
        "37 hours",
        "![Another text.](",
    ):
        assert text in after and text not in before, text


def test_added_split_appears_on_the_card(report, tmp_path, capsys):
    first = report.results[0]
    extra = replace(first, split="test", metrics=replace(first.metrics, accuracy=0.7311))
    replace(report, results=[extra, *report.results]).save(tmp_path / "report.json")
    main([str(tmp_path)])
    card = ModelCard.load(tmp_path / "README.md")
    assert any(r.dataset_split == "test" and r.metric_value == 0.7311 for r in card.data.eval_results)
    assert "On test:" in card.text and "| all, n = 14 |" in card.text
    assert "By class (validation" in card.text  # the split the model was calibrated on stays the reference


def test_corruptions_appear_on_the_card(report):
    clean = CoreMetrics(accuracy=0.654, balanced_accuracy=0.5, macro_f1=0.5)
    rows = [
        CorruptionMetrics(
            corruption="low_light", severity=s, unit="share", accuracy=a, balanced_accuracy=0.5, macro_f1=0.5
        )
        for s, a in ((0.5, 0.61), (0.25, 0.5))
    ]
    figures = [FigureRecord(name="robustness", file="figures/robustness.png", title="", alt="Corrupted.")]
    table = Robustness(head="fer2013", split="validation", images=500, seed=0, clean=clean, rows=rows, figures=figures)
    card = render_card(replace(report, robustness=table))
    assert "| low light | share | 0.5: 0.610 | 0.25: 0.500 |" in card
    assert "![Corrupted.](figures/robustness.png)" in card and "0.654 on the same images, clean" in card
    assert "## Robustness" in card and "## Robustness" not in render_card(report)


def groups():
    """What `measure_groups` gives."""
    metrics = CoreMetrics(accuracy=0.71, balanced_accuracy=0.66, macro_f1=0.65)
    intervals = CoreIntervals(accuracy=(0.68, 0.74), balanced_accuracy=(0.6, 0.7), macro_f1=None)
    found = GroupedBy(
        groups={
            "FEMALE": Subgroup(images=700, people=90, judged=True, metrics=metrics, intervals=intervals),
            "unknown": Subgroup(images=7, people=None, judged=False, metrics=metrics),
        },
        gaps={"accuracy": Gap(highest="FEMALE", lowest="MALE", difference=0.043, interval=(-0.01, 0.09))},
        warnings=["too small to judge: unknown"],
    )
    return Subgroups(rule="judged from 30 images on", columns={"gender": found})


def test_subgroups_appear_with_their_dataset(report):
    dataset = SplitInfo(source="people", revision="sha256:11", rows=9, fingerprint="22")
    people = replace(report.results[0], split="all", subgroups=groups(), dataset=dataset)
    assert "names neither age nor gender" in render_card(report)
    card = ModelCard(render_card(replace(report, results=[*report.results, people])))
    assert "names neither age nor gender" not in card.text and "On people, all:" in card.text
    assert "| gender (people, all) |" in card.text
    assert "| FEMALE | 700 | 90 | 0.710 (0.680-0.740) | 0.660 (0.600-0.700) | 0.650 |" in card.text
    assert "| unknown | 7 | - | too few to judge |" in card.text
    assert "Largest gap in accuracy: 0.043 (-0.010 to 0.090), highest for FEMALE, lowest for MALE." in card.text
    assert "- Too small to judge: unknown." in card.text
    entries = {(r.dataset_type, r.dataset_split) for r in card.data.eval_results}
    assert entries == {("fer2013", "validation"), ("people", "all")}


def test_onnx_files_appear_on_the_card(report):
    row = OnnxVariant(
        name="model_quantized.onnx",
        megabytes=4.69,
        accuracy=0.68,
        agreement=0.98,
        latency_ms=1.2,
        batch_latency_ms=0.5,
    )
    card = render_card(replace(report, onnx=[row]))
    assert "| model_quantized.onnx | 4.7 | 0.680 | 0.980 | 1.20 | 0.50 |" in card
    assert "Size and speed" not in render_card(report)


def test_widget_has_an_image_and_its_scores(packaged, report):
    (entry,) = ModelCard.load(packaged / "README.md").data.widget
    assert (packaged / entry["src"]).is_file() and "public domain" in entry["example_title"]
    assert {output["label"] for output in entry["output"]} == set(report.results[0].labels)
    assert sum(output["score"] for output in entry["output"]) == pytest.approx(1, abs=1e-3)


def test_base_model_is_named_only_if_on_the_hub(report):
    for name, relation in (("google/vit-base-patch16-224-in21k", "finetune"), (None, None)):
        data = ModelCard(render_card(replace(report, training=replace(report.training, base_model=name)))).data
        assert (data.base_model, data.get("base_model_relation")) == (name, relation)


def on_own_faces(report, **run):
    """The same model, trained and measured on a folder of one's own."""
    rows = {"train": 90, "validation": 10}
    dataset = RunData(source="faces", revision="sha256:11", rows=rows, fingerprint={"validation": "22"})
    measured = SplitInfo(source="faces", revision="sha256:11", rows=10, fingerprint="22")
    recipe = report.training.recipe | {"ferplus_weight": 0.0} | run.pop("recipe", {})
    training = replace(report.training, dataset=dataset, recipe=recipe, **run)
    return replace(report, training=training, results=[replace(r, dataset=measured) for r in report.results])


def test_own_faces_are_not_called_fer2013(report):
    card = ModelCard(render_card(on_own_faces(report)))
    assert "FER" not in card.text.partition("Recipe")[0] and "arXiv:1307" not in card.text
    assert "Trained from scratch on `faces`." in card.text and "On faces, validation:" in card.text
    assert "labels of `faces` is not known" in card.text and "web searches" not in card.text
    data = card.data.to_dict()
    assert "datasets" not in data and data["license"] == "unknown" and "fer-2013" not in data["tags"]
    assert {(r.dataset_type, r.dataset_name) for r in card.data.eval_results} == {("faces", "faces")}


def test_start_of_the_weights_is_told(report):
    shipped = LocalBase(name="model_card/fer2013", dataset="FER-2013")
    recipe = {"model_name_or_path": "model_card/fer2013"}
    card = ModelCard(render_card(on_own_faces(report, recipe=recipe, local_base=shipped)))
    assert "Fine-tuned from `model_card/fer2013` (trained on FER-2013) on `faces`." in card.text
    assert "base_model" not in card.data.to_dict() and "scratch" not in card.text  # a folder is no Hub id
    unknown = render_card(on_own_faces(report, recipe=recipe, local_base=LocalBase(name="checkpoint")))
    assert "Fine-tuned from `checkpoint` on `faces`." in unknown and "FER-2013:" not in unknown
    before = {"runs/first": replace(report.training, earlier={})}
    card = render_card(on_own_faces(report, recipe={"model_name_or_path": "runs/first"}, earlier=before))
    assert "Trained from scratch on FER-2013, then fine-tuned on `faces`." in card


def test_teachers_of_other_data(report):
    card = render_card(on_own_faces(report, recipe={"teachers": ["me/teacher"]}))
    assert "distilled from 1 other networks." in card


def test_classes_of_a_run_can_be_repeated(report):
    card = render_card(on_own_faces(report, classes={"labels": "happy,excited", "label_map": "bored="}))
    assert '--dataset DATASET --labels "happy,excited" --label_map "bored=" --output_dir' in card


def test_license_is_the_one_recorded(report):
    card = ModelCard(render_card(replace(report, model=replace(report.model, license="mit"))))
    assert card.data.license == "mit"


@pytest.mark.parametrize("name", ["fer2013", "ferplus"])
def test_published_cards_are_those_of_their_reports(name, root):
    folder = root / "model_card" / name
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == render_card(Report.load(folder / "report.json")) + "\n"
    assert "license: apache-2.0" in card and "16-bit" in card


def test_pipeline_clips_16_bits_as_the_card_says(packaged):
    classify = pipeline("image-classification", model=str(packaged))
    gray = np.random.default_rng(0).integers(8, 256, (48, 48), np.uint8)
    deep = Image.fromarray(gray.astype(np.uint16) * 256)
    white, plain, divided = (
        {entry["label"]: entry["score"] for entry in classify(image, top_k=7)}
        for image in (deep, Image.fromarray(gray), Image.fromarray((np.asarray(deep) // 256).astype(np.uint8)))
    )
    assert divided == plain != white
    assert white == {entry["label"]: entry["score"] for entry in classify(Image.new("L", (48, 48), 255), top_k=7)}


def test_quick_start_runs_as_pasted(packaged, report, capsys):
    named = replace(report, model=replace(report.model, name=packaged.as_posix()))
    code = re.search(r"```python\n(.*?)```", render_card(named), re.DOTALL)[1]
    exec(code, {})  # noqa: S102  (our own card)
    assert len(capsys.readouterr().out.strip().splitlines()) == 7


def test_card_says_what_it_must(report):
    card = render_card(report)
    for words in ("apparent expression", "Article 5(1)(f)", "Article 50(3)", "stores no images", "## Limits"):
        assert words in card


def test_bare_evaluation_makes_no_card(report, tmp_path):
    with pytest.raises(CardError, match="packaged model, got one without calibration"):
        render_card(replace(report, calibration=None))
    with pytest.raises(SystemExit, match="expected a report at"):
        main([str(tmp_path)])
