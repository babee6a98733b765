"""Training speed of the small ConvNeXt on this CPU, with PyTorch's and with our depth-wise weight gradient.

    python -m tests.benchmarks.depthwise

The two take turns, so that a busy machine slows both; what counts is the ratio.
"""

import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn
from transformers import ConvNextConfig, ConvNextForImageClassification

from training.network.depthwise import speed_up_depthwise

ROUNDS, BATCH = 10, 128


def step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds of one forward and backward pass in bfloat16."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images).logits
    F.cross_entropy(logits.float(), labels).backward()
    model.zero_grad()
    return time.perf_counter() - start


def main() -> None:
    config = ConvNextConfig(
        num_channels=1, patch_size=3, num_stages=3, hidden_sizes=[64, 128, 256], depths=[2, 2, 6], num_labels=7
    )
    stock, ours = ConvNextForImageClassification(config), ConvNextForImageClassification(config)
    speed_up_depthwise(ours)
    images, labels = torch.randn(BATCH, 1, 48, 48), torch.randint(0, 7, (BATCH,))
    seconds = [(step(stock, images, labels), step(ours, images, labels)) for _ in range(ROUNDS + 2)][2:]
    a, b = (statistics.median(column) for column in zip(*seconds, strict=True))
    ratio = statistics.median(x / y for x, y in seconds)
    print(f"{torch.get_num_threads()} threads, batch {BATCH}, medians of {ROUNDS} alternating steps")
    print(f"stock {BATCH / a:.0f} images/s, ours {BATCH / b:.0f} images/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
