"""Many images come out in order, with their errors in place, in memory that a number bounds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition import EmotionRecognizer, ImageError
from gradio_ui.recognition.bulk import recognize_many
from gradio_ui.recognition.types import Recognition


@pytest.fixture(scope="module")
def recognizer(model_folder: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(model_folder, detector="yunet")


@pytest.fixture(scope="module")
def images(portrait: np.ndarray) -> list[bytes]:
    """Portraits of different sizes, a gray image and one that is damaged."""
    made = []
    for number in range(12):
        file = io.BytesIO()
        side = 160 + 10 * number
        image = Image.fromarray(portrait[30:230, 120:320]).resize((side, side))
        (image if number != 5 else Image.new("RGB", (side, side), "#808080")).save(file, "PNG")
        made.append(file.getvalue())
    made[7] = made[7][:100]
    return made


def test_flip_can_be_turned_off(recognizer: EmotionRecognizer, images: list[bytes]) -> None:
    for options in ({}, {"flip": False}):
        (found,) = recognize_many(images[:1], recognizer, **options)
        (single,) = recognizer.batch(images[:1], **options)
        assert isinstance(found, Recognition) and isinstance(single, Recognition)
        np.testing.assert_allclose(found.probabilities, single.probabilities, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "ahead", "workers"), [(1, 1, 1), (5, 6, 2), (16, 64, None)])
def test_each_image_has_its_result_in_order(
    recognizer: EmotionRecognizer, images: list[bytes], batch_size: int, ahead: int, workers: int | None
) -> None:
    found = list(recognize_many(images, recognizer, batch_size=batch_size, ahead=ahead, workers=workers))
    assert len(found) == len(images)
    for number, one in enumerate(found):
        if number == 7:
            assert isinstance(one, ImageError)
            continue
        expected = recognizer(images[number])
        assert isinstance(one, Recognition) and one.size == (160 + 10 * number,) * 2
        assert len(one) == len(expected) == (number != 5)
        np.testing.assert_allclose(one.faces.xyxy, expected.faces.xyxy, atol=0.01)
        np.testing.assert_allclose(one.probabilities, expected.probabilities, atol=1e-4)


def test_no_more_than_so_many_are_taken_ahead(recognizer: EmotionRecognizer, images: list[bytes]) -> None:
    taken = given = most = 0

    def source() -> Iterator[bytes]:
        nonlocal taken, most
        for image in images:
            taken += 1
            most = max(most, taken - given)
            yield image

    for _ in recognize_many(source(), recognizer, batch_size=2, ahead=4, whole_image=True):
        given += 1
    assert (taken, given) == (12, 12) and most <= 5


def test_given_up_it_reads_no_further(recognizer: EmotionRecognizer, images: list[bytes]) -> None:
    left = iter(images)
    results = recognize_many(left, recognizer, batch_size=2, ahead=3)
    next(results)
    results.close()
    assert len(list(left)) == 9


def test_what_breaks_it_is_raised(recognizer: EmotionRecognizer) -> None:
    def source() -> Iterator[bytes]:
        yield b""
        raise OSError("the list broke off")

    results = recognize_many(source(), recognizer)
    with pytest.raises(OSError, match="broke off"):
        list(results)
    with pytest.raises(ValueError, match="expected 1 or more, got batch_size 0"):
        next(recognize_many([], recognizer, batch_size=0))
