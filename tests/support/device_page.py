"""The on-device engine in a browser page, called from Python."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

LOAD = """async (options) => {
  const { EmotionRecognizer } = await import("/on_device/index.js");
  window.recognizer?.close();
  window.progress = [];
  const onProgress = (progress) => window.progress.push(progress);
  const places = { model: "model", detector: "yunet.onnx", runtime: "runtime" };
  try {
    window.recognizer = await EmotionRecognizer.load({ ...places, onProgress, ...options });
  } catch (error) {
    return { error: { name: error.name, reason: error.reason, message: error.message } };
  }
  const { backend, precision, labels } = window.recognizer;
  return { backend, precision, labels };
}"""
PIXELS = """({ width, height, data }) =>
  new ImageData(Uint8ClampedArray.from(atob(data), (c) => c.charCodeAt(0)), width, height)"""
RECOGNIZE = f"""({{ image, options }}) => window.recognizer.recognize(({PIXELS})(image), options)"""
TRACK = f"""({{ image, options }}) => window.recognizer.track(({PIXELS})(image), options)"""
CALL = f"""async ({{ module, name, values }}) => {{
  const called = (await import(`/on_device/${{module}}.js`))[name];
  const made = called(...values.map((value) => (value?.data ? ({PIXELS})(value) : value)));
  if (!made?.data) return made;
  let text = "";
  for (const byte of made.data) text += String.fromCharCode(byte);
  return {{ width: made.width, height: made.height, data: btoa(text) }};
}}"""


@dataclass(frozen=True)
class DevicePage:
    """A page of `device_server` with a recognizer in it, once `load` was called.

    Attributes:
        page: Playwright's.
    """

    page: Any

    def load(self, **options: Any) -> dict[str, Any]:
        """Load the recognizer; return backend, precision and labels, or the error with its reason."""
        return dict(self.page.evaluate(LOAD, options))

    def recognize(self, image: np.ndarray, **options: Any) -> dict[str, Any]:
        """Recognize the faces of an RGB or RGBA uint8 (h, w, c) image."""
        return dict(self.page.evaluate(RECOGNIZE, {"image": encode(image), "options": options}))

    def track(self, image: np.ndarray, **options: Any) -> dict[str, Any]:
        """Pass the next live frame, RGB uint8 (h, w, 3)."""
        return dict(self.page.evaluate(TRACK, {"image": encode(image), "options": options}))

    def call(self, module: str, name: str, *values: Any) -> Any:
        """Call a function of one of the engine's modules; images are RGB uint8 arrays on both sides."""
        sent = [encode(value) if isinstance(value, np.ndarray) else value for value in values]
        made = self.page.evaluate(CALL, {"module": module, "name": name, "values": sent})
        return decode(made) if isinstance(made, dict) and "data" in made else made


def encode(image: np.ndarray) -> dict[str, Any]:
    height, width, channels = image.shape
    if channels == 3:
        image = np.dstack([image, np.full((height, width), 255, np.uint8)])
    return {"width": width, "height": height, "data": base64.b64encode(image.tobytes()).decode()}


def decode(image: dict[str, Any]) -> np.ndarray:
    pixels = np.frombuffer(base64.b64decode(image["data"]), np.uint8)
    return pixels.reshape(image["height"], image["width"], 4)[..., :3]
