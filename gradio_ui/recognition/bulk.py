"""Many images, one after the other: reading, searching and classifying overlap on all cores.

for result in recognize_many(paths, recognizer):
    ...  # in the order of the paths: a Recognition, or the ImageError that reading ended in
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from .errors import ImageError
from .image_io import ImageSource
from .onnx_session import cores
from .recognizer import EmotionRecognizer, Located
from .types import Recognition
from .yunet import YuNetDetector

BATCH, AHEAD = 16, 64  # images

Waiting: TypeAlias = "deque[Future[Located | ImageError]]"


def recognize_many(
    images: Iterable[ImageSource],
    recognizer: EmotionRecognizer,
    *,
    whole_image: bool = False,
    flip: bool = True,
    batch_size: int = BATCH,
    ahead: int = AHEAD,
    workers: int | None = None,
) -> Generator[Recognition | ImageError, None, None]:
    """Recognize images as they come, in order.

    Each worker reads an image and finds its faces with one thread, which keeps all cores busier than one image on all
    of them. Meanwhile the faces of images that are done are classified, those of several images in one batch.

    Args:
        images: anything `read_image` takes; at most `ahead` of them are taken before their results are.
        recognizer: with its detector and its classifier.
        whole_image, flip: as for its call.
        batch_size: images whose faces are classified together; no more than `ahead`.
        ahead: images that are being read or wait for their turn. Of one that waits only the faces are kept, so memory
            is bounded by this many images' faces and by `workers` images.
        workers: threads; None for as many as there are cores.

    Yields:
        For each image its result, or the error that reading it ended in.

    Raises:
        ValueError: `batch_size`, `ahead` or `workers` is less than 1.
    """
    workers = workers or cores()
    if min(batch_size, ahead, workers) < 1:
        raise ValueError(f"expected 1 or more, got batch_size {batch_size}, ahead {ahead}, workers {workers}")
    batch_size = min(batch_size, ahead)
    finder = single_threaded(recognizer)

    def locate(image: ImageSource) -> Located | ImageError:
        try:
            return finder.locate(image, whole_image=whole_image)
        except ImageError as error:
            return error

    waiting: Waiting = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    try:
        for image in images:
            waiting.append(pool.submit(locate, image))
            if len(waiting) >= ahead:
                yield from _classify(waiting, recognizer, batch_size, flip)
        while waiting:
            yield from _classify(waiting, recognizer, batch_size, flip)
    finally:
        pool.shutdown(cancel_futures=True)


def _classify(
    waiting: Waiting, recognizer: EmotionRecognizer, batch_size: int, flip: bool
) -> Iterator[Recognition | ImageError]:
    """Classify the faces of the images that wait longest."""
    found = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
    results = iter(recognizer.classify([one for one in found if isinstance(one, Located)], flip=flip))
    for one in found:
        yield next(results) if isinstance(one, Located) else one


def single_threaded(recognizer: EmotionRecognizer) -> EmotionRecognizer:
    """Give a recognizer whose detector takes one thread for each image."""
    detector = recognizer.detector
    if not isinstance(detector, YuNetDetector):
        return recognizer
    alone = YuNetDetector(detector.path, detector.score_threshold, threads=1)
    return EmotionRecognizer(recognizer.classifier, alone, recognizer.source)
