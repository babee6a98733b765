"""The table of shares: what each costs in accuracy and gains in balanced accuracy, cross-fitted."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_run import make_run
from training.evaluation.calibration import calibrate
from training.logit_adjustment import SHARES, format_frontier, frontier, main, predict
from training.network.build import load_model
from training.package import PackageArguments, calibrate_model, load_dataset_of


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Noisy logits of three classes, two of them rare, and of their mirror images."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, p=[0.8, 0.15, 0.05], size=2000)
    return np.eye(3)[y] * 1.5 + np.log([0.8, 0.15, 0.05]) + rng.normal(size=(2, 2000, 3)), y


def test_shares_trade_accuracy_for_balance(sample: tuple[np.ndarray, np.ndarray]) -> None:
    rows = frontier(*sample, ("happy", "sad", "fear"))
    assert [row["share"] for row in rows] == list(SHARES)
    balanced = [row["balanced_accuracy"] for row in rows]
    assert balanced == sorted(balanced) and balanced[-1] > balanced[0] + 0.1
    assert rows[-1]["accuracy"] < rows[0]["accuracy"] - 0.02
    assert rows[-1]["recall of fear"] > rows[0]["recall of fear"] + 0.2
    assert all(row["accuracy with flips"] > row["accuracy"] for row in rows)  # two views, two samples of noise


def test_rows_are_those_of_the_report(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, y = sample
    labels = ("happy", "sad", "fear")
    _, found = calibrate(logits[0], y, labels, split="validation", head="fer2013", logit_adjustment=0.375)
    none, some = frontier(logits, y, labels, (0, 0.375))
    for row, metrics in ((none, found.chosen), (some, found.published)):
        for name in ("accuracy", "balanced_accuracy", "nll", "ece"):
            assert row[name] == pytest.approx(getattr(metrics, name)), name
    header, line, *_ = format_frontier([none, some]).splitlines()
    assert header.startswith("| share | accuracy | balanced accuracy | nll | ece |")
    assert header.count("|") == line.count("|")


def test_a_package_is_measured_as_its_run(tiny_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, packaged = make_run(tmp_path / "run"), tmp_path / "package"
    arguments = PackageArguments(dataset=str(tiny_csv), logit_adjustment=1)
    model, image_processor = load_model(run)
    calibrate_model(model, image_processor, arguments, load_dataset_of(arguments, model))
    model.save_pretrained(packaged)
    image_processor.save_pretrained(packaged)
    np.testing.assert_allclose(
        predict(str(packaged), arguments).logits, predict(str(run), arguments).logits, atol=1e-3
    )
    main([str(packaged), "--dataset", str(tiny_csv), "--shares", "0", "0.5"])
    assert "14 images of validation, cross-fitted" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="expected a share from 0 to 1, got 2"):
        main([str(packaged), "--dataset", "none", "--shares", "2"])
