"""Parameter groups, the Muon/AdamW pair and the two-phase schedule."""

import copy

import pytest
import torch
from transformers import ConvNextConfig, ConvNextForImageClassification, ViTConfig, ViTForImageClassification

from training.learning.optimizer import (
    Float32Muon,
    MuonWithAdamW,
    depths,
    orthogonalize,
    parameter_groups,
    two_phase_schedule,
)


@pytest.fixture
def convnext() -> ConvNextForImageClassification:
    config = ConvNextConfig(num_channels=1, patch_size=4, num_stages=2, hidden_sizes=[8, 16], depths=[1, 2])
    return ConvNextForImageClassification(config)


@pytest.fixture
def vit() -> ViTForImageClassification:
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )
    return ViTForImageClassification(config)


@pytest.mark.parametrize("name, blocks", [("convnext", 3), ("vit", 3)])
def test_depth_grows_from_stem_to_head(name: str, blocks: int, request: pytest.FixtureRequest) -> None:
    depth = depths(request.getfixturevalue(name))
    assert {value for key, value in depth.items() if "embeddings" in key} == {0}
    assert {value for key, value in depth.items() if key.startswith("classifier")} == {blocks + 1}
    assert set(depth.values()) == set(range(blocks + 2))


def test_layer_decay_lowers_the_rate_towards_the_stem(vit: ViTForImageClassification) -> None:
    groups = parameter_groups(vit, learning_rate=1.0, weight_decay=0.1, layer_decay=0.5)
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert rates[id(vit.classifier.weight)] == 1.0
    assert rates[id(vit.vit.embeddings.cls_token)] == 0.5**4
    assert sum(len(g["params"]) for g in groups) == len(list(vit.parameters()))


def test_muon_gets_matrices_and_vectors_never_decay(
    convnext: ConvNextForImageClassification,
) -> None:
    groups = parameter_groups(convnext, learning_rate=1e-3, weight_decay=0.1, muon_learning_rate=0.02)
    assert all(parameter.ndim > 1 for group in groups if group["weight_decay"] for parameter in group["params"])
    names = {id(parameter): name for name, parameter in convnext.named_parameters()}
    muon = {names[id(parameter)] for group in groups if group["muon"] for parameter in group["params"]}
    wanted = ("pwconv1.weight", "pwconv2.weight", "downsampling_layer.1.weight")  # not dwconv, stem or classifier
    assert muon == {name for name in names.values() if name.endswith(wanted)}


def test_the_pair_goes_on_from_its_saved_state(convnext: ConvNextForImageClassification) -> None:
    def optimizer() -> MuonWithAdamW:
        groups = parameter_groups(convnext, learning_rate=1e-3, weight_decay=0.1, muon_learning_rate=0.02)
        return MuonWithAdamW(groups, betas=(0.9, 0.99), eps=1e-8)

    def step(pair: MuonWithAdamW) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        convnext(torch.randn(2, 1, 32, 32)).logits.square().sum().backward()
        pair.step()
        pair.zero_grad()
        return {name: value.clone() for name, value in convnext.state_dict().items()}

    first = optimizer()
    before = step(first)
    state = copy.deepcopy(first.state_dict())
    unbroken = step(first)
    convnext.load_state_dict(before)
    second = optimizer()
    second.load_state_dict(state)
    resumed = step(second)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert any(not torch.equal(before[name], unbroken[name]) for name in unbroken)


def test_two_phases_end_in_a_cosine(convnext: ConvNextForImageClassification) -> None:
    groups = parameter_groups(convnext, learning_rate=1.0, weight_decay=0.0)
    optimizer = MuonWithAdamW(groups, betas=(0.9, 0.99), eps=1e-8)
    schedule = two_phase_schedule(optimizer, steps=20, warmup=4, head_steps=5)
    head, backbone = [], []
    for _ in range(20):
        head.append(next(g["lr"] for g in optimizer.param_groups if g["head"]))
        backbone.append(next(g["lr"] for g in optimizer.param_groups if not g["head"]))
        optimizer.step()
        schedule.step()
    assert head[:5] == [1.0] * 5 and backbone[:5] == [0.0] * 5
    assert head[5:] == backbone[5:]
    assert backbone[5] < backbone[8] <= 1.0 and 0 < backbone[-1] < 0.05


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_moves_a_kernel_as_the_matrix_it_is(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(6, 4, 3, 3).to(memory_format=layout))
    matrix = torch.nn.Parameter(kernel.detach().flatten(1).clone())
    gradient = torch.randn(6, 4, 3, 3)
    kernel.grad, matrix.grad = gradient.to(memory_format=layout), gradient.flatten(1).clone()
    for parameter in (kernel, matrix):
        pair = MuonWithAdamW(
            [{"params": [parameter], "lr": 0.1, "weight_decay": 0.0, "muon": True}], betas=(0.9, 0.99), eps=1e-8
        )
        pair.step()
        pair.zero_grad()
        assert parameter.grad is None
    assert torch.allclose(kernel.flatten(1), matrix, atol=2e-3)  # Newton-Schulz runs in bfloat16


def muon_steps(kind: type[torch.optim.Muon], weight: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    """Return the weight after a step for each gradient."""
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = kind([parameter], lr=0.1, weight_decay=0.1, momentum=0.95)
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("shape", [(24, 8), (8, 24)])
def test_float32_muon_follows_the_library(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, *gradients = (torch.randn(shape, generator=generator) for _ in range(4))
    ours, library = (muon_steps(kind, weight, gradients) for kind in (Float32Muon, torch.optim.Muon))
    moved = (library - weight).norm()
    assert (ours - library).norm() < 0.02 * moved  # the library's bfloat16
    exact = muon_steps(Float32Muon, weight.double(), [gradient.double() for gradient in gradients])
    assert (ours - exact).norm() < 1e-5 * moved


def test_orthogonalized_values_are_near_one() -> None:
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalize(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7))
    assert 0.5 < values.min() and values.max() < 1.5


def test_a_run_can_change_its_muon() -> None:
    weight, gradient = torch.nn.Parameter(torch.randn(4, 4)), torch.randn(4, 4)
    library, ours = (kind([weight], lr=0.1) for kind in (torch.optim.Muon, Float32Muon))
    weight.grad = gradient
    library.step()
    ours.load_state_dict(library.state_dict())
    assert torch.equal(ours.state[weight]["momentum_buffer"], library.state[weight]["momentum_buffer"])
    ours.step()


@pytest.mark.parametrize("bfloat16, kind", [(True, torch.optim.Muon), (False, Float32Muon)])
def test_the_pair_has_the_muon_of_its_precision(bfloat16: bool, kind: type) -> None:
    group = {"params": [torch.nn.Parameter(torch.zeros(2, 2))], "lr": 0.1, "weight_decay": 0.0, "muon": True}
    pair = MuonWithAdamW([group], betas=(0.9, 0.99), eps=1e-8, bfloat16=bfloat16)
    assert type(pair.parts[0]) is kind
