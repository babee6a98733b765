"""When live frames are sent: neither the camera's rate nor the network costs results, and none waits for long."""

from __future__ import annotations

import pytest

from tests.support.device_page import DevicePage

pytestmark = pytest.mark.browser

# A camera of 30 frames/s and a recognizer that works on one frame at a time, in simulated time.
SIMULATE = """async ({ work, network }) => {
  const { Pace } = await import("/pace.js"), pace = new Pace(), answers = [], waits = [];
  let free = 0;
  for (let now = 0; now < 10_000; now += 1000 / 30) {
    for (; answers.length && answers[0] <= now; answers.shift()) pace.answered(work);
    if (!pace.ready(now)) continue;
    pace.sent(now);
    waits.push(Math.max(0, free - now));
    free = Math.max(free, now) + work;
    answers.push(free + network);
  }
  return { perSecond: waits.length / 10, longest: Math.max(...waits) };
}"""


@pytest.mark.parametrize(
    ("work", "network", "per_second"),
    [(5, 0, 30), (38, 0, 1000 / 38), (25, 40, 30), (100, 0, 10), (100, 30, 10), (400, 0, 2.5)],
)
def test_the_recognizer_is_kept_busy(device: DevicePage, work: float, network: float, per_second: float) -> None:
    simulated = device.page.evaluate(SIMULATE, {"work": work, "network": network})
    assert simulated["perSecond"] >= 0.8 * per_second
    assert simulated["longest"] <= 40
