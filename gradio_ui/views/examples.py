"""The example pictures, made from what scikit-image carries: a NASA portrait (public domain) and a cat (CC0)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np


@cache
def example_images() -> dict[str, np.ndarray]:
    """Make the examples: name -> (h, w, 3) uint8 RGB, shared by all callers."""
    import skimage
    from PIL import Image

    files = Path(skimage.__file__).parent / "data"  # `skimage.data` would load SciPy, a third of a second
    portrait = Image.open(files / "astronaut.png").convert("RGB")
    head = portrait.crop((110, 0, 350, 300))
    pair = Image.new("RGB", (480, 300))
    pair.paste(head, (0, 0))
    pair.paste(head.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(8, Image.Resampling.BICUBIC), (240, 0))
    return {
        "portrait": np.asarray(portrait),
        "pair": np.asarray(pair),
        "cat": np.asarray(Image.open(files / "chelsea.png").convert("RGB")),
    }
