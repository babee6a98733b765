"""The average of the weights: its values, and when it stands in for the raw weights."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from training.learning.callbacks import RAW_WEIGHTS, EMACallback, FreezeBackbone

STATE = SimpleNamespace(global_step=0, best_model_checkpoint=None)
TRAIN_ON = SimpleNamespace(should_evaluate=False, should_save=False)
EVALUATE = SimpleNamespace(should_evaluate=True, should_save=False)


@pytest.fixture
def model() -> torch.nn.Linear:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.0)
    return model


def args(folder: Path, best: bool = False) -> SimpleNamespace:
    return SimpleNamespace(output_dir=str(folder), should_save=True, load_best_model_at_end=best)


def step(callback: EMACallback, model: torch.nn.Module, value: float, control: SimpleNamespace = TRAIN_ON) -> None:
    callback.on_step_begin(args(Path()), STATE, TRAIN_ON, model=model)
    torch.nn.init.constant_(model.weight, value)
    callback.on_step_end(args(Path()), STATE, control, model=model)


def test_decay_warms_up_to_its_value(model: torch.nn.Linear) -> None:
    callback = EMACallback(model, 0.15)
    average = 0.0
    for seen, value in enumerate((1.0, 2.0, 4.0, 8.0)):
        step(callback, model, value)
        decay = min(0.15, (1 + seen) / (10 + seen))
        average = value if seen == 0 else decay * average + (1 - decay) * value
    assert callback.average.module.weight.item() == pytest.approx(average)
    assert model.weight.item() == 8.0


def test_average_shows_only_between_steps(model: torch.nn.Linear) -> None:
    callback = EMACallback(model, 0.5)
    step(callback, model, 1.0)
    assert model.weight.item() == 1.0
    step(callback, model, 3.0, EVALUATE)
    shown = model.weight.item()
    assert shown == callback.average.module.weight.item() != 3.0
    callback.on_epoch_end(args(Path()), STATE, EVALUATE, model=model)  # a second time changes nothing
    assert model.weight.item() == shown
    callback.on_step_begin(args(Path()), STATE, TRAIN_ON, model=model)
    assert model.weight.item() == 3.0


@pytest.mark.parametrize("best", [None, "checkpoint-1"])
def test_average_stays_unless_the_best_was_loaded(model: torch.nn.Linear, best: str | None) -> None:
    callback = EMACallback(model, 0.5)
    step(callback, model, 1.0)
    step(callback, model, 3.0)
    state = SimpleNamespace(global_step=2, best_model_checkpoint=best)
    callback.on_train_end(args(Path(), best=True), state, TRAIN_ON, model=model)
    assert model.weight.item() == (3.0 if best else callback.average.module.weight.item())
    kept = model.weight.item()
    callback.on_step_begin(args(Path()), state, TRAIN_ON, model=model)
    assert model.weight.item() == kept


def test_checkpoint_carries_raw_and_averaged_on(model: torch.nn.Linear, tmp_path: Path) -> None:
    callback = EMACallback(model, 0.5)
    step(callback, model, 1.0)
    step(callback, model, 3.0, EVALUATE)
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    state = SimpleNamespace(global_step=2, best_model_checkpoint=None)
    callback.on_save(args(tmp_path), state, EVALUATE, model=model)
    assert load_file(checkpoint / RAW_WEIGHTS)["weight"].item() == 3.0

    resumed = EMACallback(other := torch.nn.Linear(1, 1, bias=False), 0.5)
    other.load_state_dict(model.state_dict())  # as the library loads the checkpoint's weights
    resumed.on_train_begin(args(tmp_path), state, TRAIN_ON, model=other)
    assert other.weight.item() == 3.0
    for one, network in ((callback, model), (resumed, other)):
        step(one, network, 7.0)
    assert resumed.average.module.weight.item() == callback.average.module.weight.item()


def test_backbone_is_free_after_its_epochs() -> None:
    network = torch.nn.ModuleDict({"body": torch.nn.Linear(1, 1), "classifier": torch.nn.Linear(1, 1)})
    callback = FreezeBackbone(1.0)
    for epoch, trains in ((0.0, False), (0.75, False), (1.0, True), (1.25, True)):
        callback.on_step_begin(None, SimpleNamespace(epoch=epoch), TRAIN_ON, model=network)
        assert network["body"].weight.requires_grad == trains and network["classifier"].weight.requires_grad
