"""Teachers: their own size and channels, their average, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, Trainer

from tests.training.test_train import run_tiny, weights
from training.data.labels import EMOTIONS
from training.errors import TeacherError
from training.learning.distillation import Teacher, Teachers
from training.network.build import ModelArguments, build_model, heads

CPU = torch.device("cpu")
SIZES = {"hidden_sizes": [8, 16], "depths": [1, 1]}


def save(folder: Path, names: tuple[str, ...] = EMOTIONS, **sizes: object) -> PreTrainedModel:
    """A random network, saved as a run folder."""
    model, image_processor = build_model(ModelArguments(**(SIZES | sizes)), list(names), 0.4, 0.2)  # type: ignore[arg-type]
    torch.nn.init.normal_(
        model.get_parameter("classifier.1.weight" if "regnet" in str(sizes) else "classifier.weight")
    )
    model.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    return model.eval()


def test_a_teacher_sees_the_view_as_it_was_trained(tmp_path: Path) -> None:
    model = save(tmp_path / "a", architecture="regnet", image_size=32)
    images = torch.rand(3, 1, 32, 32)
    expected = model(pixel_values=(images - 0.4) / 0.2).logits
    teacher = Teacher(str(tmp_path / "a"), model, CPU)
    assert torch.allclose(teacher(images), expected, atol=1e-5)
    # color for a gray teacher: the luma, which of a gray picture in three channels is itself
    assert torch.allclose(teacher(images.expand(-1, 3, -1, -1)), expected, atol=1e-4)
    flat = torch.full((1, 1, 20, 20), 0.3)  # resized to the teacher's side, flat stays flat
    assert torch.allclose(teacher(flat), model(pixel_values=torch.full((1, 1, 32, 32), -0.5)).logits, atol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_teachers_average_their_probabilities(tmp_path: Path, flip: bool) -> None:
    names = (*EMOTIONS, *(f"ferplus/{name}" for name in (*EMOTIONS, "contempt")))
    models = []
    for seed, kind in enumerate(("convnext", "regnet")):
        torch.manual_seed(seed)
        models.append(save(tmp_path / kind, names, architecture=kind))
    rows = {name: torch.tensor(index) for name, index in heads(models[0].config).items()}
    images = torch.rand(2, 1, 48, 48)
    taught = Teachers([str(tmp_path / "convnext"), str(tmp_path / "regnet")], models[0], rows, 2.0, flip, CPU)(images)
    views = [images, images.flip(-1)] if flip else [images]
    logits = [model(pixel_values=(view - 0.4) / 0.2).logits / 2 for model in models for view in views]
    assert set(taught) == {"fer2013", "ferplus"}
    for head, index in rows.items():
        expected = torch.stack([single[:, index].softmax(dim=1) for single in logits]).mean(dim=0)
        assert torch.allclose(taught[head], expected, atol=1e-5)


def test_a_teacher_of_other_labels_is_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path / "other", tuple(reversed(EMOTIONS)))
    student = save(tmp_path / "student")
    with pytest.raises(TeacherError, match=r"other: expected the student's outputs angry, .*got neutral, "):
        Teacher(str(tmp_path / "other"), student, CPU)
    with pytest.raises(TeacherError, match="nothing: expected a run folder"):
        Teacher(str(tmp_path / "nothing"), student, CPU)


@pytest.mark.slow
def test_a_student_learns_from_its_teacher_alone(tiny_csv: Path, tmp_path: Path) -> None:
    learn = (
        "--num_train_epochs", 40, "--learning_rate", 0.01, "--flip", 0, "--shift", 0, "--rotation", 0, "--zoom", 0,
        "--erase", 0, "--save_strategy", "no", "--eval_strategy", "no", "--load_best_model_at_end", "false",
    )  # fmt: skip
    assert run_tiny(tiny_csv, tmp_path / "teacher", *learn)["eval_accuracy"] > 0.9
    student = run_tiny(
        tiny_csv, tmp_path / "student", *learn, "--teachers", tmp_path / "teacher", "--distillation_weight", 1.0
    )
    assert student["eval_accuracy"] > 0.8
    recorded = json.loads((tmp_path / "student" / "run.json").read_text())["arguments"]["training"]
    assert recorded["teachers"] == [str(tmp_path / "teacher")]  # the card counts them


def test_teachers_see_clean_and_students_corrupted(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.learning.trainer as module

    once = "--num_train_epochs", 1, "--save_strategy", "no", "--load_best_model_at_end", "false"
    run_tiny(tiny_csv, tmp_path / "teacher", *once)
    augmented, corrupted, taught = [], [], []

    def augment(*args: Any) -> torch.Tensor:
        augmented.append(original_augment(*args))
        return augmented[-1]

    def corrupt(images: torch.Tensor, share: float) -> torch.Tensor:
        assert share == 1
        corrupted.append(original_corrupt(images, share))
        return corrupted[-1]

    def teach(self: Teachers, images: torch.Tensor) -> dict[str, torch.Tensor]:
        taught.append(images.clone())
        return original_teach(self, images)

    original_augment, original_corrupt, original_teach = module.augment, module.corrupt, Teachers.__call__
    monkeypatch.setattr(module, "augment", augment)
    monkeypatch.setattr(module, "corrupt", corrupt)
    monkeypatch.setattr(Teachers, "__call__", teach)
    monkeypatch.setattr(module.ExpressionTrainer, "training_step", seen_by_the_student(student := []))
    run_tiny(tiny_csv, tmp_path / "student", *once, "--teachers", tmp_path / "teacher", "--corrupt", 1)
    assert len(taught) == len(student) == 4
    std, mean = statistics_of(tmp_path / "student")
    for clean, spoken, hard, seen in zip(augmented, taught, corrupted, student, strict=True):
        assert torch.equal(spoken, clean) and not torch.equal(hard, clean)
        torch.testing.assert_close(seen * std + mean, hard, atol=1e-5, rtol=0)


def seen_by_the_student(inputs: list[torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A `training_step` that notes what the model is given."""
    original = Trainer.training_step

    def step(self: Trainer, model: PreTrainedModel, *args: Any) -> torch.Tensor:
        hook = model.register_forward_pre_hook(
            lambda _, __, given: inputs.append(given["pixel_values"]), with_kwargs=True
        )
        try:
            return original(self, model, *args)
        finally:
            hook.remove()

    return step


def statistics_of(run: Path) -> tuple[float, float]:
    """Standard deviation and mean of the image processor."""
    saved = json.loads((run / "preprocessor_config.json").read_text())
    return saved["image_std"][0], saved["image_mean"][0]


@pytest.mark.slow
def test_a_cnn_goes_on_from_a_checkpoint_bit_for_bit(tiny_csv: Path, tmp_path: Path) -> None:
    argv = ("--architecture", "regnet", "--muon_learning_rate", 0.02, "--ema_decay", 0.9, "--num_train_epochs", 3)
    run_tiny(tiny_csv, tmp_path, *argv, "--save_total_limit", 5)
    whole = weights(tmp_path)
    for step in (8, 12):
        checkpoint = tmp_path / f"checkpoint-{step}"
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    run_tiny(tiny_csv, tmp_path, *argv, "--save_total_limit", 5, "--resume_from_checkpoint", "true")
    assert all(torch.equal(whole[name], tensor) for name, tensor in weights(tmp_path).items())
