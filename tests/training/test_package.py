import json
import re
import shutil
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from PIL import Image
from skimage.data import astronaut
from transformers import pipeline

from tests.support.tiny_run import make_run
from training import package as module
from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS
from training.data.load import load_fer
from training.errors import PackageError
from training.evaluate import EvaluateArguments, evaluate
from training.evaluate import main as evaluate_main
from training.learning.arguments import parse_arguments
from training.network.build import load_model
from training.package import PackageArguments, crop_margins, main, package
from training.publish_dataset import dataset_files
from training.reporting.measurement import scaling_of
from training.reporting.package_layout import check_loads
from training.reporting.provenance import cpu_seconds_of
from training.reporting.report import Report

DRAWN = ("confusion_matrix", "coverage", "per_class", "precision_recall", "reliability", "roc")
FILES = {
    *("README.md", "config.json", "model.safetensors", "preprocessor_config.json", "report.json"),
    "figures/example.png",
    *(f"figures/training_curves.{kind}" for kind in ("png", "svg")),
    *(f"figures/fer2013_validation/{name}.{kind}" for name in DRAWN for kind in ("png", "svg")),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def packaged(run, tiny_csv, tmp_path_factory):
    """A package, made with every connection refused."""
    out = tmp_path_factory.mktemp("model_card") / "fer2013"

    def refuse(*_):
        raise AssertionError("packaging opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        return package(run, out, PackageArguments(dataset=str(tiny_csv)))


@pytest.fixture(scope="module")
def classify(packaged):
    return pipeline("image-classification", model=str(packaged), device="cpu")


@pytest.fixture
def undrawn(monkeypatch):
    """Save the time that figures take."""
    monkeypatch.setattr(module, "draw", lambda *_: [])


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def by_label(example):
    return sorted(example.scores, key=lambda entry: FERPLUS_EMOTIONS.index(entry.label))


def probabilities(classify, image):
    return {entry["label"]: entry["score"] for entry in classify(image, top_k=7)}


def test_package_is_complete(packaged):
    assert set(snapshot(packaged)) == FILES
    assert [path.name for path in packaged.parent.iterdir()] == ["fer2013"]
    config = json.loads((packaged / "config.json").read_text())
    assert config["num_channels"] == 3
    assert [config["id2label"][str(i)] for i in range(7)] == list(EMOTIONS)
    assert config["crop_margin"] == {"yunet": 0.0}
    calibration = Report.load(packaged / "report.json").calibration
    assert config["calibration"] == {"temperature": calibration.temperature, "bias": calibration.bias}
    assert config["provenance"]["commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert config["provenance"]["head"] == "fer2013"


@pytest.mark.slow
def test_logit_adjustment_is_folded_and_recorded(run, packaged, tiny_csv, tmp_path, undrawn):
    out = package(run, tmp_path / "out", PackageArguments(dataset=str(tiny_csv), logit_adjustment=0.5))
    config = json.loads((out / "config.json").read_text())
    calibration = Report.load(out / "report.json").calibration
    assert (calibration.logit_adjustment, config["calibration"]["logit_adjustment"]) == (0.5, 0.5)
    assert config["calibration"]["shift"] == calibration.shift and max(calibration.shift.values()) > 0
    models = [load_model(folder)[0] for folder in (packaged, out)]
    plain, adjusted = (model.classifier.bias.detach().numpy() for model in models)
    assert adjusted - plain == pytest.approx([calibration.shift[label] for label in EMOTIONS], abs=1e-5)
    assert scaling_of(models[1], EMOTIONS).undo(adjusted) == pytest.approx(  # back to the run's own logits
        scaling_of(models[0], EMOTIONS).undo(plain), abs=1e-4
    )
    assert "In favor of rare classes" in (out / "README.md").read_text()


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(run, tmp_path, no_work, share):
    with pytest.raises(SystemExit, match=rf"logit_adjustment: expected a share from 0 to 1, got {share}"):
        main([str(run), str(tmp_path / "out"), "--dataset", "none", f"--logit_adjustment={share}"])


def test_card_shows_figures_that_are_there(packaged):
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (packaged / "README.md").read_text())
    assert len(shown) == 1 + len(DRAWN)
    there = {path.relative_to(packaged).as_posix() for path in packaged.rglob("*.png")}
    assert there == {*shown, "figures/example.png"}


def test_cpu_time_is_that_of_one_process_on_cpus(packaged):
    assert Report.load(packaged / "report.json").training.cpu_seconds == 180
    run = {"device": "cpu", "cpu_seconds": 180.0, "processes": 1}
    assert cpu_seconds_of(run) == 180
    for changed in ({"device": "cuda:0"}, {"processes": 2}, {"cpu_seconds": None}):
        assert cpu_seconds_of(run | changed) is None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pipeline_serves_files_of_any_mode(classify, tmp_path, mode):
    image = Image.fromarray(astronaut()[62:182, 166:286]).convert(mode)
    image.save(tmp_path / "face.png")
    scores = probabilities(classify, str(tmp_path / "face.png"))
    assert set(scores) == set(EMOTIONS)
    assert sum(scores.values()) == pytest.approx(1)


def test_color_and_grayscale_agree_up_to_rounding(classify):
    color = Image.fromarray(astronaut()[62:182, 166:286])
    gray, red = probabilities(classify, color.convert("L")), probabilities(classify, color.getchannel("R"))
    scores = probabilities(classify, color)
    assert max(abs(scores[name] - gray[name]) for name in EMOTIONS) < 5e-3
    assert max(abs(scores[name] - red[name]) for name in EMOTIONS) > 5e-3  # so the agreement above says something


def test_report_is_about_the_package_itself(packaged, tiny_csv, tmp_path):
    output = tmp_path / "report.json"
    arguments = EvaluateArguments(dataset=str(tiny_csv), flip_tta=True, output=str(output))
    again, written = evaluate(str(packaged), arguments)
    report = Report.load(packaged / "report.json")
    assert written == output and again.model.weights_sha256 == report.model.weights_sha256
    assert [r.metrics for r in again.results] == [r.metrics for r in report.results]
    assert {(r.tta, r.subset) for r in report.results} == {
        (tta, subset) for tta in ("none", "flip") for subset in ("all", "unseen_pixels")
    }


def test_nothing_of_this_machine_is_published(packaged, run):
    for name, content in snapshot(packaged).items():
        assert str(run.parent).encode() not in content, name


def test_recipe_trains_again(packaged, tmp_path):
    recipe = Report.load(packaged / "report.json").training.recipe
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    _, model, _, training = parse_arguments(
        [str(tmp_path / "recipe.json"), "--dataset", "fer2013.csv", "--output_dir", str(tmp_path / "run")]
    )
    assert (model.hidden_sizes, training.ferplus_weight, training.num_train_epochs) == ([8, 16], 0.5, 2)
    assert training.per_device_train_batch_size == 128
    assert "output_dir" not in recipe


@pytest.mark.slow
def test_earlier_runs_are_told_with_their_recipes(run, tiny_csv, tmp_path, undrawn, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "teacher", "last"):
        shutil.copytree(run, tmp_path / "runs" / name)
    record = json.loads((run / "run.json").read_text())
    record["arguments"]["model"]["model_name_or_path"] = "runs/first"
    record["arguments"]["training"]["teachers"] = ["runs/first", "runs/teacher"]
    (tmp_path / "runs/last/run.json").write_text(json.dumps(record))
    del record["arguments"]["data"]  # as runs of before `--labels` have it
    record["arguments"]["training"].pop("teachers")
    record["arguments"]["model"]["model_name_or_path"] = None
    (tmp_path / "runs/first/run.json").write_text(json.dumps(record))
    out = package(tmp_path / "runs/last", tmp_path / "out", PackageArguments(dataset=str(tiny_csv)))
    training = Report.load(out / "report.json").training
    assert list(training.earlier) == ["runs/first", "runs/teacher"] and training.base_model is None
    assert training.recipe["teachers"] == ["runs/first", "runs/teacher"]
    card = (out / "README.md").read_text()
    assert "Trained from scratch" in card and "distilled from 2 other networks" in card and "base_model:" not in card
    assert card.count("<details>") == 3 and "recipe2.json --dataset DATASET --ferplus" in card
    assert "Processor time: 0.15 hours, summed over all cores." in card
    (tmp_path / "runs/teacher/run.json").write_text("{")
    with pytest.raises(SystemExit, match=r"teacher: expected a finished run"):
        main(["runs/last", "out", "--dataset", str(tiny_csv)])


def test_crop_margin_of_the_start_is_inherited(tmp_path):
    model = SimpleNamespace(config=SimpleNamespace(crop_margin={"yunet": 0.2}))
    assert crop_margins(tmp_path, model) == {"yunet": 0.2}  # the crops it was trained on have that margin
    (tmp_path / "config.json").write_text('{"crop_margin": {"yunet": -0.1}}')
    assert crop_margins(tmp_path, model) == {"yunet": -0.1}


def test_measured_crop_margins_survive_repackaging(run, tiny_csv, tmp_path, undrawn):
    out = tmp_path / "fer2013"
    out.mkdir()
    (out / "config.json").write_text('{"crop_margin": {"yunet": 0.25}}')
    (out / "report.json").write_text("{}")
    package(run, out, PackageArguments(dataset=str(tiny_csv)))
    assert json.loads((out / "config.json").read_text())["crop_margin"] == {"yunet": 0.25}


@pytest.fixture(scope="module")
def ferplus(run, tiny_csv, tiny_votes, tmp_path_factory):
    """A package of the other head."""
    out = tmp_path_factory.mktemp("model_card") / "ferplus"
    return package(run, out, PackageArguments(dataset=str(tiny_csv), ferplus=str(tiny_votes), head="ferplus"))


@pytest.mark.slow
def test_ferplus_package_is_about_the_votes(ferplus):
    report = Report.load(ferplus / "report.json")
    result, calibration = report.results[0], report.calibration
    assert result.labels == list(FERPLUS_EMOTIONS) == [entry.label for entry in by_label(report.example)]
    assert (result.head, result.dataset.reference) == ("ferplus", "FER+ majority")
    assert list(calibration.temperature) == list(FERPLUS_EMOTIONS)
    assert result.metrics.vote_entropy < result.metrics.vote_cross_entropy
    assert calibration.before.vote_cross_entropy != calibration.after.vote_cross_entropy
    assert {figure.file.split("/")[1] for figure in result.figures} == {"ferplus_validation"}
    card = (ferplus / "README.md").read_text()
    for words in ("8 classes", "| Cross-entropy to the votes (nats) |", "--head ferplus --ferplus fer2013new.csv"):
        assert words in card
    assert "name: FER+" in card and "config: ferplus" in card and "top_k=8" in card


@pytest.mark.slow
def test_package_is_evaluated_on_what_it_was_made_for(ferplus, tiny_csv, tiny_votes, tmp_path):
    dataset, output = ["--dataset", str(tiny_csv)], ["--output", str(tmp_path / "report.json")]
    evaluate_main([str(ferplus), *dataset, "--ferplus", str(tiny_votes), *output])
    again, report = (Report.load(path / "report.json") for path in (tmp_path, ferplus))
    assert again.results[0].metrics == report.results[0].metrics
    with pytest.raises(SystemExit, match=r"against the FER\+ majority; these would be against the label"):
        evaluate_main([str(ferplus), *dataset, *output])  # without the votes


def test_ferplus_package_needs_the_votes(run, tiny_csv, tmp_path):
    with pytest.raises(SystemExit, match=r"expected FER\+ votes"):
        main([str(run), str(tmp_path / "out"), "--dataset", str(tiny_csv), "--head", "ferplus"])
    assert not (tmp_path / "out").exists()


def test_example_is_a_image_with_what_the_model_says(packaged, classify):
    example = Report.load(packaged / "report.json").example
    says = probabilities(classify, str(packaged / example.file))
    assert {entry.label: entry.score for entry in example.scores} == pytest.approx(says, abs=1e-6)


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), OSError(28, "No space left on device")])
def test_interruption_leaves_the_old_package(packaged, run, tiny_csv, monkeypatch, undrawn, error):
    def interrupt(*_):
        raise error

    before = snapshot(packaged)
    monkeypatch.setattr(module, "write_card", interrupt)
    with pytest.raises(type(error), match=r"stop|No space left"):
        package(run, packaged, PackageArguments(dataset=str(tiny_csv)))
    assert snapshot(packaged) == before
    assert [path.name for path in packaged.parent.iterdir()] == ["fer2013"]


def test_failing_check_leaves_the_old_package(packaged, run, tiny_csv, monkeypatch, undrawn):
    def fail(*_):
        raise PackageError("not as promised")

    before = snapshot(packaged)
    monkeypatch.setattr(module, "check_loads", fail)
    with pytest.raises(SystemExit, match="error: not as promised"):
        main([str(run), str(packaged), "--dataset", str(tiny_csv)])
    assert snapshot(packaged) == before
    assert [path.name for path in packaged.parent.iterdir()] == ["fer2013"]


@pytest.fixture
def no_work(monkeypatch):
    """Fail where the dataset is loaded, which is the first thing that takes time."""

    def fail(*_, **__):
        raise AssertionError("the dataset was loaded")

    monkeypatch.setattr(module, "load_fer", fail)


def test_too_large_weights_are_refused_before_the_work(run, tmp_path, no_work):
    with pytest.raises(SystemExit, match=r"at most 0\.001 MB, got 0\.0\d+ MB; raise --max_megabytes"):
        main([str(run), str(tmp_path / "out"), "--dataset", "none", "--max_megabytes", "0.001"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("holiday.jpg", r"holiday\.jpg in it does not belong"),
        ("run.json", "does not belong"),
        ("config.json", r"there is no report\.json in it"),
        (".git/HEAD", "does not belong"),
    ],
)
def test_a_folder_that_is_no_package_is_refused_first(run, tmp_path, no_work, name, message):
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(SystemExit, match=f"expected a new folder, or a package to replace, got .*{message}"):
        main([str(run), str(tmp_path / "out"), "--dataset", "none"])
    assert file.read_text() == "mine"


def test_a_file_in_the_way_is_refused_first(run, tmp_path, no_work):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SystemExit, match=r"got .*out: a file"):
        main([str(run), str(tmp_path / "out"), "--dataset", "none"])


@pytest.mark.slow
def test_nothing_stays_of_a_killed_process(run, tiny_csv, tmp_path, root, undrawn):
    out = tmp_path / "models" / "fer2013"
    command = [sys.executable, "-m", "training.package", str(run), str(out), "--dataset", str(tiny_csv)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 200
        while not list(out.parent.glob(".fer2013.staging/*/model.safetensors")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    assert [path.name for path in out.parent.iterdir()] == [".fer2013.staging"]
    package(run, out, PackageArguments(dataset=str(tiny_csv)))
    assert [path.name for path in out.parent.iterdir()] == ["fer2013"]


def test_check_notices_wrong_labels(packaged):
    with pytest.raises(PackageError, match="expected probabilities of angry, happy for L"):
        check_loads(packaged, ["angry", "happy"])


def test_unfinished_run_is_refused(run, tiny_csv, tmp_path):
    with pytest.raises(SystemExit, match="expected a finished run"):
        main([str(tmp_path), str(tmp_path / "out"), "--dataset", str(tiny_csv)])
    assert not (tmp_path / "out").exists()


def test_votes_may_come_with_the_dataset(run, tiny_csv, tiny_votes, tmp_path, undrawn):
    dataset_files(load_fer(tiny_csv, ferplus=tiny_votes), "me/faces", "unknown", tmp_path)
    out = package(run, tmp_path / "out", PackageArguments(dataset=str(tmp_path), head="ferplus"))
    assert Report.load(out / "report.json").results[0].head == "ferplus"
