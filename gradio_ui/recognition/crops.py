"""Crops of the faces in photographs, as files: what a dataset of one's own is made of.

python -m gradio_ui.recognition photos/ --crops faces/

cuts every face out as the app does before it scores one: found by the same detector, turned upright, with the model's
margin. Folders stay as they are, so photos/happy/party.jpg becomes faces/happy/party.jpg.1.png.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ImageError

if TYPE_CHECKING:
    from .recognizer import EmotionRecognizer


@dataclass
class Cropped:
    """What became of the photographs.

    Attributes:
        files: one for each face.
        without_face: photographs in which none was found.
        with_several: photographs with more than one, which need not all show what their folder is called.
        failed: photographs that could not be read, and why.
    """

    files: list[Path] = field(default_factory=list)
    without_face: list[Path] = field(default_factory=list)
    with_several: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yield what a person should know, a line each."""
        yield f"{len(self.files)} faces written"
        for what, paths in (
            ("no face found", self.without_face),
            ("several faces, look through them", self.with_several),
        ):
            yield from (f"{what}: {path}" for path in paths)
        yield from (f"failed: {path}: {reason}" for path, reason in self.failed.items())


def crop_targets(found: Mapping[Path, Sequence[Path]], out: Path) -> dict[Path, Path]:
    """Choose where the crops of each photograph go.

    Args:
        found: photographs by the folder, or the file, that they were asked for with.
        out: the folder of crops.

    Returns:
        Photograph -> path without the face's number. Photographs of one name in two folders go to one place, where the
        later would replace the earlier; so only the first of them is in it.
    """
    targets: dict[Path, Path] = {}
    taken = set()
    for root, files in found.items():
        for file in files:
            target = out / (file.name if file == root else file.relative_to(root))
            if file not in targets and target not in taken:
                targets[file] = target
                taken.add(target)
    return targets


def write_crops(targets: Mapping[Path, Path], recognizer: EmotionRecognizer, *, whole_image: bool = False) -> Cropped:
    """Cut out every face, with a progress bar.

    Args:
        targets: photograph -> path of its crops without their numbers, see `crop_targets`.
        recognizer: has the detector, and the margin that its model was trained with.
        whole_image: take every photograph as one face.

    Raises:
        OSError: a crop cannot be written.
    """
    from PIL import Image
    from tqdm import tqdm

    done = Cropped()
    for photograph, target in tqdm(targets.items(), unit="photograph", disable=None):
        try:
            crops = recognizer.crops(photograph, whole_image=whole_image)
        except ImageError as error:
            done.failed[photograph] = str(error)
            continue
        if not crops:
            done.without_face.append(photograph)
        elif len(crops) > 1:
            done.with_several.append(photograph)
        for number, crop in enumerate(crops, start=1):
            file = target.with_name(f"{target.name}.{number}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f".{file.name}.{os.getpid()}")
            try:
                Image.fromarray(crop).save(part, "PNG")
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
            done.files.append(file)
    return done
