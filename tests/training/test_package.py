import json
import re
import socket

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut
from transformers import pipeline

from tests.training.tiny_run import make_run
from training import package as module
from training.arguments import parse_arguments
from training.evaluate import EvaluateArguments, evaluate
from training.labels import EMOTIONS, FERPLUS_EMOTIONS
from training.metrics import softmax
from training.package import (
    PackageArguments,
    PackageError,
    calibrate,
    check,
    energy_of,
    fit_temperature,
    main,
    package,
)
from training.report import load_report

DRAWN = ("confusion_matrix", "coverage", "per_class", "precision_recall", "reliability", "roc")
FILES = {
    *("README.md", "config.json", "model.safetensors", "preprocessor_config.json", "report.json"),
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
    """Saves the time that figures take."""
    monkeypatch.setattr(module, "draw", lambda *_: [])


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def probabilities(classify, picture):
    return {entry["label"]: entry["score"] for entry in classify(picture, top_k=7)}


def test_package_is_complete(packaged):
    assert set(snapshot(packaged)) == FILES
    assert [path.name for path in packaged.parent.iterdir()] == ["fer2013"]
    config = json.loads((packaged / "config.json").read_text())
    assert config["num_channels"] == 3
    assert [config["id2label"][str(i)] for i in range(7)] == list(EMOTIONS)
    assert config["crop_margin"] == {"yunet": 0.0, "haar": 0.0}
    assert config["calibration_temperature"] == load_report(packaged / "report.json")["calibration"]["temperature"]
    assert config["provenance"]["commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert config["provenance"]["head"] == "fer2013"


def test_card_shows_figures_that_are_there(packaged):
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (packaged / "README.md").read_text())
    assert len(shown) == 1 + len(DRAWN)
    assert {path.relative_to(packaged).as_posix() for path in packaged.rglob("*.png")} == set(shown)


def test_energy_is_an_estimate_of_one_process_on_cpus(packaged):
    energy = load_report(packaged / "report.json")["training"]["energy"]
    assert energy["kwh"] == pytest.approx(180 * energy["assumed_watts_per_core"] / 3600 / 1000)
    run = {"device": "cpu", "cpu_seconds": 180.0, "processes": 1}
    assert energy_of(run) == energy
    for changed in ({"device": "cuda:0"}, {"processes": 2}, {"cpu_seconds": None}):
        assert energy_of(run | changed) is None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pipeline_serves_files_of_any_mode(classify, tmp_path, mode):
    picture = Image.fromarray(astronaut()[62:182, 166:286]).convert(mode)
    picture.save(tmp_path / "face.png")
    scores = probabilities(classify, str(tmp_path / "face.png"))
    assert set(scores) == set(EMOTIONS)
    assert sum(scores.values()) == pytest.approx(1)


def test_colour_and_greyscale_agree_up_to_rounding(classify):
    colour = Image.fromarray(astronaut()[62:182, 166:286])
    grey, red = probabilities(classify, colour.convert("L")), probabilities(classify, colour.getchannel("R"))
    scores = probabilities(classify, colour)
    assert max(abs(scores[name] - grey[name]) for name in EMOTIONS) < 5e-3
    assert max(abs(scores[name] - red[name]) for name in EMOTIONS) > 5e-3  # so the agreement above says something


def test_report_is_about_the_package_itself(packaged, tiny_csv, tmp_path):
    output = tmp_path / "report.json"
    arguments = EvaluateArguments(dataset=str(tiny_csv), flip_tta=True, output=str(output))
    again, written = evaluate(str(packaged), arguments)
    report = load_report(packaged / "report.json")
    assert written == output and again["model"]["weights_sha256"] == report["model"]["weights_sha256"]
    assert [r["metrics"] for r in again["results"]] == [r["metrics"] for r in report["results"]]
    assert {(r["tta"], r["subset"]) for r in report["results"]} == {
        (tta, subset) for tta in ("none", "flip") for subset in ("all", "unseen_pixels")
    }


def test_nothing_of_this_machine_is_published(packaged, run):
    for name, content in snapshot(packaged).items():
        assert str(run.parent).encode() not in content, name


def test_recipe_trains_again(packaged, tmp_path):
    recipe = load_report(packaged / "report.json")["training"]["recipe"]
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    _, model, _, training = parse_arguments(
        [str(tmp_path / "recipe.json"), "--dataset", "fer2013.csv", "--output_dir", str(tmp_path / "run")]
    )
    assert (model.hidden_sizes, training.ferplus_weight, training.num_train_epochs) == ([8, 16], 0.5, 2)
    assert training.per_device_train_batch_size == 128
    assert "output_dir" not in recipe


def test_measured_crop_margins_survive_repackaging(run, tiny_csv, tmp_path, undrawn):
    out = tmp_path / "fer2013"
    out.mkdir()
    (out / "config.json").write_text('{"crop_margin": {"yunet": 0.25}}')
    package(run, out, PackageArguments(dataset=str(tiny_csv)))
    assert json.loads((out / "config.json").read_text())["crop_margin"] == {"yunet": 0.25, "haar": 0.0}


def test_ferplus_package_has_contempt(run, tiny_csv, tiny_votes, tmp_path, undrawn):
    arguments = PackageArguments(dataset=str(tiny_csv), ferplus=str(tiny_votes), head="ferplus")
    out = package(run, tmp_path / "ferplus", arguments)
    report = load_report(out / "report.json")
    assert report["results"][0]["labels"] == list(FERPLUS_EMOTIONS)
    assert "vote_cross_entropy" in report["results"][0]["metrics"]


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


def test_failing_check_leaves_the_old_package(packaged, run, tiny_csv, undrawn):
    before = snapshot(packaged)
    with pytest.raises(SystemExit, match=r"expected weights of at most 0\.001 MB"):
        main([str(run), str(packaged), "--dataset", str(tiny_csv), "--max_megabytes", "0.001"])
    assert snapshot(packaged) == before
    assert [path.name for path in packaged.parent.iterdir()] == ["fer2013"]


def test_check_notices_wrong_labels(packaged):
    with pytest.raises(PackageError, match="expected probabilities of angry, happy for L"):
        check(packaged, ["angry", "happy"], max_megabytes=40)


def test_unfinished_run_is_refused(run, tiny_csv, tmp_path):
    with pytest.raises(SystemExit, match="expected a finished run"):
        main([str(tmp_path), str(tmp_path / "out"), "--dataset", str(tiny_csv)])
    assert not (tmp_path / "out").exists()


def test_fitted_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 7)) * 1.5
    y = np.array([rng.choice(7, p=row) for row in softmax(logits)])  # calibrated by construction
    assert fit_temperature(logits * 2.5, y) == pytest.approx(2.5, rel=0.06)
    temperature, calibration = calibrate(logits * 2.5, y, list(EMOTIONS))
    assert temperature == pytest.approx(2.5, rel=0.06)
    assert calibration["before"]["ece"] > 0.2 and calibration["after"]["ece"] < 0.03
    assert calibration["after"]["nll"] < calibration["before"]["nll"]
