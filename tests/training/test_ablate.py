"""Trials: every variant by every seed, what is done is not done again, a run that breaks off is told."""

import json
from pathlib import Path

import pytest

from training.ablate import main, read_trials, table
from training.errors import AblationError
from training.learning.arguments import recipe_flags

ROOT = Path(__file__).parents[2]
TINY = {
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "patch_size": 4,
    "per_device_train_batch_size": 14,
    "num_train_epochs": 1,
    "report_to": "none",
}


def write(path: Path, trials: dict[str, dict[str, object]]) -> Path:
    path.write_text(json.dumps({"recipe": TINY, "trials": trials}))
    return path


@pytest.mark.slow
def test_table_of_real_runs(tiny_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = write(tmp_path / "trials.json", {"base": {}, "twice as long": {"num_train_epochs": 2}})
    argv = [str(trials), "--output_dir", str(tmp_path / "runs"), "--dataset", str(tiny_csv), "--seeds"]
    main([*argv, "1"])
    records = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("runs/*/run.json")}
    assert {name: (run["epochs"], run["seed"]) for name, run in records.items()} == {
        "base-1": (1, 1),
        "twice_as_long-1": (2, 1),
    }
    assert not list(tmp_path.glob("runs/*/checkpoint-*"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["change", "---", "base", "twice as long"]
    accuracy = records["base-1"]["metrics"]["eval_accuracy"]
    assert rows[2][1] == f"{accuracy:.3f} ({accuracy:.3f})"

    (tmp_path / "runs/base-1/log.txt").unlink()
    main([*argv, "1"])  # nothing is left to do
    assert not (tmp_path / "runs/base-1/log.txt").exists()


def test_table_of_two_seeds() -> None:
    def run(accuracy: float) -> dict[str, float]:
        return {"eval_accuracy": accuracy, "eval_loss": 1.0}

    rows = table({"base": [run(0.5), run(0.6)], "other": [run(0.61), run(0.59)]}).splitlines()
    assert rows[2] == "| base | 0.550 (0.500, 0.600) |  |"
    assert rows[3] == "| other | 0.600 (0.610, 0.590) | +0.110, -0.010 |"


@pytest.mark.slow
def test_broken_run_is_told_and_nothing_is_made_up(tiny_csv: Path, tmp_path: Path) -> None:
    trials = write(tmp_path / "trials.json", {"base": {"hidden_size": 3}})
    with pytest.raises(SystemExit, match=r"error: .*base-1: the run broke off; see .*log\.txt"):
        main([str(trials), "--output_dir", str(tmp_path / "runs"), "--dataset", str(tiny_csv)])
    assert "unknown argument 'hidden_size'" in (tmp_path / "runs/base-1/log.txt").read_text()


@pytest.mark.parametrize("content", ["", "[]", '{"recipe": {}}', '{"recipe": {}, "trials": {}}'])
def test_bad_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(AblationError, match=r"bad\.json: expected"):
        read_trials(tmp_path / "bad.json")


def test_kept_trials_are_known_arguments(tmp_path: Path) -> None:
    for name, recipe in read_trials(ROOT / "training/recipes/ablation.json").items():
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(recipe))
        assert recipe_flags(path), name
