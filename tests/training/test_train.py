"""Training by a few real steps on tiny models: run folder, phases, objective, and every way to break off."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.support.tiny_networks import make_checkpoint
from training.data.augment import AugmentArguments, augment
from training.errors import RecipeError, RunError
from training.learning.arguments import parse_arguments
from training.learning.checkpoints import MANIFEST, latest_complete_checkpoint
from training.train import load_splits, main, train

TINY = "--hidden_sizes 8 16 --depths 1 1 --patch_size 4 --per_device_train_batch_size 14 --logging_steps 1".split()


def flags(dataset: Path, run: Path, *more: object) -> list[str]:
    return ["--dataset", str(dataset), "--output_dir", str(run), *TINY, "--report_to", "none", *map(str, more)]


def run_tiny(dataset: Path, run: Path, *more: object) -> dict[str, float]:
    return train(*parse_arguments(flags(dataset, run, *more)))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[k], b[k], atol=tolerance, rtol=0) for k in a)


def test_run_folder_tells_everything(tiny_csv: Path, tiny_votes: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"ferplus_weight": 0.5, "num_train_epochs": 9, "ema_decay": 0.9, "bf16": True}))
    run = tmp_path / "run"
    argv = [str(recipe), *flags(tiny_csv, run, "--ferplus", tiny_votes, "--num_train_epochs", 2, "--mixup_alpha", 0.2)]
    argv[argv.index("none")] = "tensorboard"
    metrics = train(*parse_arguments(argv))

    assert {"eval_accuracy", "eval_macro_f1", "eval_ferplus_accuracy"} <= metrics.keys()
    record = json.loads((run / "run.json").read_text())
    assert record["arguments"]["training"]["num_train_epochs"] == 2  # the flag wins over the recipe
    assert record["arguments"]["training"]["ferplus_weight"] == 0.5
    assert record["dataset"]["rows"]["train"] == 56 and record["dataset"]["fingerprint"]["train"]
    assert record["versions"]["torch"] == torch.__version__ and record["seed"] == 42
    assert record["epochs"] == 2 and record["seconds"] > 0
    assert record["processor"]["name"] and record["processor"]["instructions"]
    names = json.loads((run / "config.json").read_text())["id2label"]
    assert names["0"] == "angry" and names["7"] == "ferplus/angry" and len(names) == 15
    assert (run / "trainer_state.json").exists() and (run / "preprocessor_config.json").exists()
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(run.glob("runs/**/events.out.tfevents.*"))


def test_every_parameter_learns(tiny_csv: Path, tmp_path: Path) -> None:
    run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 2, "--muon_learning_rate", 0.02, "--save_strategy", "epoch")
    first, second = (load_file(p / "model.safetensors") for p in sorted(tmp_path.glob("checkpoint-*")))
    assert [name for name in first if torch.equal(first[name], second[name])] == []


def test_learns_what_can_be_learnt(tiny_csv: Path, tmp_path: Path) -> None:
    metrics = run_tiny(
        tiny_csv, tmp_path, "--num_train_epochs", 40, "--learning_rate", 0.01, "--flip", 0, "--shift", 0,
        "--rotation", 0, "--zoom", 0, "--erase", 0, "--class_weights", "balanced", "--label_smoothing_factor", 0.1,
        "--save_only_model", "true",
    )  # fmt: skip
    assert metrics["eval_accuracy"] > 0.9


@pytest.mark.slow
def test_views_are_small_early_and_weaker_late(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.learning.trainer as module

    seen: list[tuple[int, float]] = []

    def spy(pixels: torch.Tensor, args: AugmentArguments, size: int) -> torch.Tensor:
        seen.append((size, args.rotation))
        return augment(pixels, args, size)

    monkeypatch.setattr(module, "augment", spy)
    run_tiny(
        tiny_csv, tmp_path, "--num_train_epochs", 2, "--low_res_size", 24, "--low_res_fraction", 0.25, "--rotation", 8,
        "--aug_decay_start", 0.5, "--aug_decay_strength", 0.25, "--drop_path_rate", 0.1,
    )  # fmt: skip
    assert seen == [(24, 8)] * 2 + [(48, 8)] * 2 + [(48, 2)] * 4


@pytest.mark.slow
def test_seed_decides_the_weights(tiny_csv: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_tiny(tiny_csv, tmp_path / name, "--num_train_epochs", 1, "--seed", seed, "--cutmix_alpha", 1)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert same(a, b) and not same(a, c)


@pytest.mark.parametrize("kind", ["vit", "convnext"])
def test_fine_tunes_a_checkpoint_in_two_phases(kind: str, tiny_csv: Path, tmp_path: Path) -> None:
    base = make_checkpoint(kind, tmp_path / "base")
    run = tmp_path / "run"
    run_tiny(
        tiny_csv, run, "--model_name_or_path", base, "--num_train_epochs", 2, "--head_epochs", 1,
        "--layer_decay", 0.7, "--learning_rate", 0.01,
    )  # fmt: skip
    start = load_file(base / "model.safetensors")
    after_head, after_all = (load_file(p / "model.safetensors") for p in sorted(run.glob("checkpoint-*")))
    backbone = [name for name in start if not name.startswith("classifier")]
    assert all(torch.equal(start[name], after_head[name]) for name in backbone)
    assert [name for name in backbone if torch.equal(after_head[name], after_all[name])] == []
    assert after_head["classifier.weight"].shape[0] == 7
    saved = json.loads((run / "preprocessor_config.json").read_text())
    assert saved["image_mean"] == [0.4] * 3 and 32 in saved["size"].values()


def test_plateau_schedule_and_early_stopping(tiny_csv: Path, tmp_path: Path) -> None:
    run_tiny(
        tiny_csv, tmp_path, "--num_train_epochs", 30, "--learning_rate", 1e-6, "--early_stopping_patience", 2,
        "--lr_scheduler_type", "reduce_lr_on_plateau", "--lr_scheduler_kwargs", '{"patience": 0}',
    )  # fmt: skip
    history = json.loads((tmp_path / "trainer_state.json").read_text())["log_history"]
    rates = [entry["learning_rate"] for entry in history if "learning_rate" in entry]
    assert rates[-1] < rates[0]
    assert history[-1]["epoch"] < 30


@pytest.mark.slow
def test_killed_run_ends_where_the_unbroken_one_does(tiny_csv: Path, tmp_path: Path) -> None:
    more = ["--num_train_epochs", "12", "--ema_decay", "0.9", "--muon_learning_rate", "0.02", "--mixup_alpha", "0.2"]
    more += ["--save_strategy", "steps", "--save_steps", "3", "--eval_strategy", "steps", "--eval_steps", "3"]
    run_tiny(tiny_csv, tmp_path / "unbroken", *more)

    broken = tmp_path / "broken"
    command = [sys.executable, "-m", "training.train", *flags(tiny_csv, broken, *more)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while last_complete(broken) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert last_complete(broken) is not None and not (broken / "run.json").exists(), "it was not killed in mid-run"

    run_tiny(tiny_csv, broken, *more, "--resume_from_checkpoint", "true")
    record = json.loads((broken / "run.json").read_text())
    last = max(broken.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    kept = json.loads((last / "trainer_state.json").read_text())["stateful_callbacks"]["Stopwatch"]["args"]
    assert record["resumed"] and record["seconds"] >= kept["seconds"] > 0
    assert same(weights(tmp_path / "unbroken"), weights(broken))


def last_complete(run: Path) -> Path | None:
    """Like `latest_complete_checkpoint`, but leaves half-written ones to the process that writes them."""
    return next((p for p in run.glob("checkpoint-*") if (p / MANIFEST).exists()), None)


def test_half_written_checkpoint_is_never_picked_up(tiny_csv: Path, tmp_path: Path) -> None:
    run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 2)
    older, newest = sorted(tmp_path.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    os.truncate(newest / "optimizer.pt", 10)
    assert latest_complete_checkpoint(tmp_path) == older
    assert not newest.exists()


def test_full_disk_keeps_the_older_checkpoint(tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import training.learning.callbacks as module

    save_file, calls = module.save_file, []

    def full(*args: object) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        save_file(*args)

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(RunError, match=r"No space left on device.*resume_from_checkpoint"):
        run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 3, "--ema_decay", 0.9)
    monkeypatch.undo()
    assert latest_complete_checkpoint(tmp_path).name == "checkpoint-4"


def test_nan_loss_stops_the_run_by_step(tiny_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"loss became nan by step \d+.*learning_rate"):
        run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 3, "--learning_rate", 1e30, "--max_grad_norm", 0)


def test_accelerate_on_cpus_never_trains_alone_unsaid(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what `accelerate launch --num_processes 2` leaves behind on a machine without GPUs, where it starts one process
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(SystemExit, match="--multi_gpu"):
        main(flags(tiny_csv, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "recipe, message",
    [
        ('{"learning_rat": 1}', "unknown argument 'learning_rat'"),
        ("{", "expected JSON"),
        ("[1]", "expected a JSON object"),
        ('{"dataset": "x", "class_weights": "some"}', "expected none, sqrt or balanced"),
        ('{"dataset": "x", "ema_decay": 1}', "ema_decay"),
        ('{"dataset": "x", "depths": [1, 2, 3, 4]}', "hidden_sizes and depths"),
        ('{"dataset": "x", "head_epochs": 1, "lr_scheduler_type": "linear"}', "head_epochs"),
    ],
)
def test_unusable_recipes_are_refused_by_name(recipe: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(recipe)
    with pytest.raises(RecipeError, match=message):
        parse_arguments([str(path)])


OLD_NAMES = {"grey": False, "early_size": 36, "early_share": 0.6, "calm_from": 0.4, "calm_strength": 0.25}


def test_old_argument_names_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"dataset": "x", "contrastive_share": 0.0, **OLD_NAMES}))
    _, model_args, _, args = parse_arguments([str(path)])
    assert not model_args.gray
    assert (args.low_res_size, args.low_res_fraction) == (36, 0.6)
    assert (args.aug_decay_start, args.aug_decay_strength) == (0.4, 0.25)
    path.write_text('{"contrastive_share": 0.3}')
    with pytest.raises(RecipeError, match="contrastive_share: removed, see training/EXPERIMENTS"):
        parse_arguments([str(path)])


def test_recipes_on_published_cards_still_parse(root: Path, tmp_path: Path) -> None:
    recipes = []

    def collect(part: object) -> None:
        for key, value in part.items() if isinstance(part, dict) else ():
            if key == "recipe":
                recipes.append(value)
            collect(value)

    for report in root.glob("model_card/*/report.json"):
        collect(json.loads(report.read_text()))
    assert len(recipes) >= 2
    for recipe in recipes:
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(recipe))
        parse_arguments([str(path), "--dataset", "x"])


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("max_train_samples", 0, "max_train_samples: expected 1 or more, got 0"),
        ("max_eval_samples", -3, "max_eval_samples: expected 1 or more, got -3"),
        ("per_device_train_batch_size", 0, "per_device_train_batch_size: expected above 0, got 0"),
        ("per_device_eval_batch_size", 0, "per_device_eval_batch_size: expected above 0"),
        ("num_train_epochs", -1, "num_train_epochs: expected above 0, got -1"),
        ("num_train_epochs", 0, "num_train_epochs: expected above 0, got 0"),
        ("max_steps", 0, "max_steps: expected above 0, or -1"),
        ("learning_rate", -1, "learning_rate: expected 0 or more"),
        ("save_total_limit", 1, "save_total_limit: expected 2 or more"),
        ("low_res_fraction", 1.5, "low_res_fraction: expected 0 to 1, got 1.5"),
        ("distillation_temperature", 0, "distillation_temperature: expected above 0"),
    ],
)
def test_values_without_sense_are_refused(
    name: str, value: float, message: str, tiny_csv: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        main(flags(tiny_csv, tmp_path / "run", f"--{name}", value))
    assert not (tmp_path / "run").exists()


def test_binary_recipe_and_file_for_a_folder(tiny_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_bytes(bytes(range(256)))
    with pytest.raises(SystemExit, match=r"^error: .*recipe\.json: expected JSON, got a binary file"):
        main([str(tmp_path / "recipe.json")])
    with pytest.raises(SystemExit, match=r"^error: output_dir .*recipe\.json: expected a folder, new or not, got: "):
        main(flags(tiny_csv, tmp_path / "recipe.json"))


def test_resuming_another_length_is_refused(tiny_csv: Path, tmp_path: Path) -> None:
    run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 1)
    with pytest.raises(RunError, match=r"checkpoint-4 belongs to a run of 4 steps, but these arguments make 12"):
        run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 3, "--resume_from_checkpoint", "true")
    with pytest.raises(RunError, match="4 steps, but these arguments make 2"):
        run_tiny(
            tiny_csv, tmp_path, "--num_train_epochs", 1, "--max_train_samples", 28, "--resume_from_checkpoint", "true"
        )


@pytest.mark.slow
def test_averaged_run_resumes_averaged_only(tiny_csv: Path, tmp_path: Path) -> None:
    run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 1)
    with pytest.raises(RunError, match="expected a checkpoint of a run with ema_decay"):
        run_tiny(tiny_csv, tmp_path, "--num_train_epochs", 1, "--ema_decay", 0.9, "--resume_from_checkpoint", "true")


def test_second_process_in_one_folder_is_refused(tiny_csv: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    hold = "import sys; from pathlib import Path; from training.files import locked_folder\n"
    hold += "with locked_folder(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    first = subprocess.Popen([sys.executable, "-c", hold, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        first.stdout.readline()
        with pytest.raises(SystemExit, match=f"^error: {run}: process {first.pid} is writing to this folder"):
            main(flags(tiny_csv, run, "--max_steps", 1))
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    main(flags(tiny_csv, run, "--max_steps", 1))  # the operating system has let go of it


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_files_that_cannot_be_written_are_named(tiny_csv: Path, tmp_path: Path) -> None:
    import resource

    run_tiny(tiny_csv, tmp_path / "cache", "--max_steps", 1)  # the dataset's cache is there already
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the weights have more bytes
    try:
        with pytest.raises(SystemExit, match=r"^error: .*checkpoint-4 could not be written .*Free some disk space"):
            main(flags(tiny_csv, tmp_path / "run", "--num_train_epochs", 2, "--ema_decay", 0.9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_too_little_space_is_said_before_the_work(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.train.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RunError, match=r"of free disk space for a checkpoint, got 0 MB"):
        run_tiny(tiny_csv, tmp_path)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_samples_are_of_all_classes(tiny_folder: Path, tmp_path: Path) -> None:
    more = ["--max_train_samples", 14, "--max_eval_samples", 7, "--class_weights", "balanced", "--max_steps", 1]
    args = parse_arguments(flags(tiny_folder, tmp_path, *more))
    splits, source = load_splits(args[0], args[-1])
    assert source["rows"] == {"train": 56, "validation": 14, "test": 14}  # of the whole dataset
    assert sorted(splits["train"]["label"]) == sorted([*range(7)] * 2)
    assert sorted(splits["validation"]["label"]) == [*range(7)]
    train(*args)  # class weights need every class


def test_evaluation_sees_every_image(tiny_csv: Path, tmp_path: Path) -> None:
    whole = run_tiny(tiny_csv, tmp_path / "a", "--max_steps", 1, "--per_device_eval_batch_size", 14)
    parts = run_tiny(
        tiny_csv, tmp_path / "b", "--max_steps", 1, "--per_device_eval_batch_size", 4, "--dataloader_drop_last", "true"
    )
    assert parts["eval_nll"] == pytest.approx(whole["eval_nll"], abs=1e-5)


def test_errors_end_the_program_with_one_line(tmp_path: Path, tiny_csv: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*nowhere\.json"):
        main([str(tmp_path / "nowhere.json")])
    with pytest.raises(SystemExit, match=r"ferplus_weight 1.0: expected FER\+ votes.*: --ferplus_weight 0"):
        main(flags(tiny_csv, tmp_path / "run", "--ferplus_weight", 1))


ABLATION = Path(__file__).parents[2] / "training" / "recipes" / "ablation.json"
RECIPES = sorted(set(Path(__file__).parents[2].glob("training/recipes/*.json")) - {ABLATION})


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_kept_recipes_parse(recipe: Path) -> None:
    data_args, *_ = parse_arguments([str(recipe), "--dataset", "x"])
    assert data_args.dataset == "x"
