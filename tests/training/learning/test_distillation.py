"""Teachers: their own size and channels, their average, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

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
    # colour for a grey teacher: the luma, which of a grey picture in three channels is itself
    assert torch.allclose(teacher(images.expand(-1, 3, -1, -1)), expected, atol=1e-4)
    flat = torch.full((1, 1, 20, 20), 0.3)  # resized to the teacher's side, flat stays flat
    assert torch.allclose(teacher(flat), model(pixel_values=torch.full((1, 1, 32, 32), -0.5)).logits, atol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_several_teach_by_the_average_of_their_probabilities(tmp_path: Path, flip: bool) -> None:
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
