"""The soak notices an answer that was meant for somebody else, and counts busy answers apart from errors."""

from __future__ import annotations

import httpx
import pytest

from tests.benchmarks.soak import table
from tests.benchmarks.soak_clients import CLOSE, GRID, PLACES, Client, Tally, scene

BOXES = {place: [30.0 * place, 0.0, 30.0 * place + 90, 90.0] for place in range(PLACES)}


@pytest.fixture
def client() -> Client:
    return Client(httpx.AsyncClient(), 7, BOXES, webcam=0, clip=b"")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"faces": [{"box": BOXES[7]}]}, "right"),
        ({"faces": [{"box": [side + CLOSE - 1 for side in BOXES[7]]}]}, "right"),
        ({"faces": [{"box": BOXES[8]}]}, "mixed up"),
        ({"faces": []}, "mixed up"),
        ({"late": True}, "right"),
        ({"error": "The server is busy, try again."}, "busy"),
        ({"error": "something else"}, "error"),
    ],
)
def test_whose_answer_it_is(client: Client, answer: dict, outcome: str) -> None:
    assert client.outcome(answer) == outcome


def test_every_place_has_its_own_image() -> None:
    assert GRID[0] * GRID[1] == PLACES == len({scene(place).tobytes() for place in range(PLACES)})


def test_the_table_shows_every_count() -> None:
    tally = Tally()
    tally.answers["frame", "right"] += 3
    assert (tally.total("right"), tally.total("error")) == (3, 0)
    found = {"megabytes": [300, 500, 400], "threads": [9, 30, 12], "descriptors": [20, 40, 21], "files": [75, 0]}
    found |= {"tracebacks": 0, "mixed_up": 1, "errors": 2, "answers": {"frame": {"right": 3}}, "messages": {"x": 2}}
    found |= {"logged": {"ERROR: y": 4}}
    lines = table(found | {"seconds": {"frame": {"median": 0.5, "p95": 1.25}}}).splitlines()
    assert "megabytes          300     500     400" in lines
    assert "answers mixed up 1, errors 2" in lines
    assert lines[-3].split() == ["frame", "0.50", "1.25", "3", "right"]
    assert lines[-2:] == ["2 x x", "4 x in the log: ERROR: y"]
