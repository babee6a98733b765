"""Optimizer and schedule: Muon for the matrices, AdamW for the rest, layer-wise decay, a head-only first phase."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from training.network.weights import is_classifier

BLOCK = re.compile(r"^(.*?\b(?:layers|layer)\.\d+)\.")  # "...stages.0.layers.1." of ConvNeXt, "...layer.3." of ViT


def matrix(parameter: torch.Tensor) -> torch.Tensor:
    """Return a view of a linear or convolution weight as a matrix, one row an output, over the same memory."""
    if parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
        parameter = parameter.permute(0, 2, 3, 1)  # the order of columns does not matter to Muon
    return parameter.view(len(parameter), -1)


def orthogonalize(
    gradient: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """Bring a matrix's singular values close to 1 by the Newton-Schulz iteration, in the precision of its numbers.

    Args:
        gradient: (rows, columns).
        coefficients: a, b, c of x <- a x + (b g + c g g) x, where g is x x^T (Jordan et al. 2024).
        steps: of the iteration.
        eps: the least norm to divide by.

    Returns:
        A matrix of the same shape.
    """
    a, b, c = coefficients
    tall = gradient.shape[0] > gradient.shape[1]
    x = gradient.mT if tall else gradient  # so that x x^T is the smaller product
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x.mT if tall else x


class Float32Muon(torch.optim.Muon):
    """`torch.optim.Muon` whose orthogonalization runs in float32; the library's always runs in bfloat16.

    The state is the same, so that a run can be resumed with either.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make one step. `closure` is ignored: `MuonWithAdamW` refuses it."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if (gradient := parameter.grad) is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
                update = orthogonalize(
                    gradient.lerp(average, momentum), group["ns_coefficients"], group["ns_steps"], group["eps"]
                )
                rows, columns = parameter.shape
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update, alpha=-rate * math.sqrt(max(1, rows / columns)))


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) on groups marked `muon`, AdamW on the others, behind one optimizer's interface.

    Muon orthogonalizes each matrix's momentum; on ConvNeXt's point-wise layers it learned in one epoch here what took
    AdamW more than two (training/EXPERIMENTS.md). A convolution's kernel is a matrix to it, too, one row an output
    channel. Depth-wise kernels are none; they, norms, the stem and the classifier stay with AdamW.

    Args:
        groups: parameter groups with `params`, `lr`, `weight_decay` and `muon` (bool).
        betas, eps: AdamW's.
        bfloat16: whether Muon orthogonalizes in bfloat16, else in float32.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], betas: tuple[float, float], eps: float, bfloat16: bool = True
    ) -> None:
        groups = list(groups)
        self.parts: list[torch.optim.Optimizer] = []
        self.matrices: list[tuple[torch.Tensor, torch.Tensor]] = []  # a weight and its view, which Muon works on
        if muon := [g for g in groups if g["muon"]]:
            views = [g | {"params": [torch.nn.Parameter(matrix(p.detach())) for p in g["params"]]} for g in muon]
            self.matrices = [
                pair for g, v in zip(muon, views, strict=True) for pair in zip(g["params"], v["params"], strict=True)
            ]
            kind = torch.optim.Muon if bfloat16 else Float32Muon
            self.parts.append(kind(views, momentum=0.95))
        if adamw := [g for g in groups if not g["muon"]]:
            self.parts.append(torch.optim.AdamW(adamw, betas=betas, eps=eps))
        super().__init__([{"params": g["params"]} for part in self.parts for g in part.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        # The very dicts of the parts, so that a schedule which writes `lr` here reaches them.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each part. `closure` is not supported and must be None."""
        if closure is not None:
            raise ValueError("MuonWithAdamW.step: expected no closure")
        for parameter, view in self.matrices:
            view.grad = None if parameter.grad is None else matrix(parameter.grad)
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, those of the weights behind Muon's views among them."""
        super().zero_grad(set_to_none)
        for parameter, _ in self.matrices:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the parts' own states, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def depths(model: nn.Module) -> dict[str, int]:
    """Return how deep each parameter sits: 0 for the stem, 1..n for the blocks in order, n + 1 for the head.

    Works on any transformers ViT or ConvNeXt, whose blocks are numbered in their parameters' names.
    """
    names = [name for name, _ in model.named_parameters()]
    blocks = list(dict.fromkeys(found.group(1) for name in names if (found := BLOCK.match(name))))
    order = {block: i + 1 for i, block in enumerate(blocks)}
    head = {name for name in names if is_classifier(name)}
    result: dict[str, int] = {}
    seen = 0
    for name in names:
        found = BLOCK.match(name)
        if name in head:
            result[name] = len(blocks) + 1
        else:
            # what lies between two blocks (a down-sampling layer, a final norm) goes with the block before it
            seen = order[found.group(1)] if found else seen
            result[name] = seen
    return result


def parameter_groups(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    muon_learning_rate: float = 0.0,
    muon_weight_decay: float = 0.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Group the parameters that train: by depth, by whether they decay, and by optimizer.

    Args:
        model: a transformers image classifier.
        learning_rate, weight_decay: AdamW's; vectors (norms, biases, layer scales) never decay.
        muon_learning_rate: 0 gives everything to AdamW.
        muon_weight_decay: decoupled, as AdamW's.
        layer_decay: each step towards the stem multiplies the rate by this (Bao et al. 2022); 1 switches it off.

    Returns:
        Groups with `params`, `lr`, `weight_decay`, `muon` and `head` (whether they belong to the classifier).
    """
    depth = depths(model)
    deepest = max(depth.values())
    groups: dict[tuple[float, bool, bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        head = is_classifier(name)
        depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
        muon = muon_learning_rate > 0 and parameter.ndim in (2, 4) and not depthwise and 0 < depth[name] and not head
        decays = parameter.ndim > 1
        scale = layer_decay ** (deepest - depth[name])
        group = groups.setdefault(
            (scale, muon, decays, head),
            {
                "params": [],
                "lr": scale * (muon_learning_rate if muon else learning_rate),
                "weight_decay": (muon_weight_decay if muon else weight_decay) if decays else 0.0,
                "muon": muon,
                "head": head,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def two_phase_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup: int, head_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Make a schedule: the head alone at a constant rate, then everything with a warm-up and a cosine to zero."""

    def joint(step: int) -> float:
        joint_step = step - head_steps
        if joint_step < warmup:
            return max(0.0, (joint_step + 1) / (warmup + 1))
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (joint_step - warmup) / max(1, steps - head_steps - warmup))))

    def backbone(step: int) -> float:
        return 0.0 if step < head_steps else joint(step)

    def head(step: int) -> float:
        return 1.0 if step < head_steps else joint(step)

    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, [head if group["head"] else backbone for group in optimizer.param_groups]
    )
