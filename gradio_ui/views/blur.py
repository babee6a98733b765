"""Blur faces, so that a picture or a video can be shown without showing who is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.video_analysis import Draw

MARGIN = 0.15  # of a face's width and height, on each side: hair, ears and chin are known, too
BLOCKS = 6  # mean colors that are left of a face's shorter side; they are too few to be undone
KEPT = 30  # frames, of a video


def blur_faces(frame: np.ndarray, boxes: Iterable[Sequence[float]]) -> np.ndarray:
    """Replace each face by a blur of a few mean colors.

    Args:
        frame: (h, w, 3) uint8 RGB; left as it is.
        boxes: Left, top, right, bottom of each face, in pixels; they may reach beyond the frame.

    Returns:
        A new frame of the same shape.
    """
    from PIL import Image

    blurred = frame.copy()
    for left, top, right, bottom in boxes:
        across, down = MARGIN * (right - left), MARGIN * (bottom - top)
        rows = slice(max(0, int(top - down)), max(0, int(bottom + down)))
        columns = slice(max(0, int(left - across)), max(0, int(right + across)))
        face = blurred[rows, columns]
        if not face.size:
            continue
        height, width = face.shape[:2]
        scale = min(1.0, BLOCKS / min(height, width))
        few = Image.fromarray(face).resize(
            (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX
        )
        blurred[rows, columns] = np.asarray(few.resize((width, height), Image.Resampling.BILINEAR))
    return blurred


def blur_before(draw: Draw) -> Draw:
    """Make the function that blurs the faces of a video's frames, in their order, and then draws into them.

    A face that is not found for a moment stays blurred where it was, for `KEPT` frames.
    """
    kept: dict[int, tuple[int, Sequence[float]]] = {}  # face -> frames for which its box is still blurred, and the box

    def blur_and_draw(frame: np.ndarray, faces: Sequence[TrackedFace]) -> np.ndarray:
        for face, (frames, box) in list(kept.items()):
            if frames:
                kept[face] = (frames - 1, box)
            else:
                del kept[face]
        kept.update({face.face: (KEPT, face.box) for face in faces})
        return draw(blur_faces(frame, [box for _, box in kept.values()]), faces)

    return blur_and_draw
