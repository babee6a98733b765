// The worker that runs the engine: answers {number, method, values} with {number, value} or {number, error}.

import { DeviceError, toDeviceError } from "./errors.js";
import { readPixels } from "./pixels.js";
import { Recognizer } from "./recognizer.js";

const LIVE_SIDE = 480; // pixels of a live frame, as the server gets it; faces are classified at 48

/** @type {Recognizer | null} */
let recognizer = null;
let state = "";

/** @type {Record<string, (...values: any[]) => Promise<any>>} */
const methods = {
  async load(options) {
    recognizer = await Recognizer.load(options, (progress) => postMessage({ progress }));
    state = JSON.stringify(recognizer.state);
    return recognizer.state;
  },
  async recognize(image, options) {
    const start = performance.now();
    const found = await loaded().recognize(readPixels(image), options);
    return { ...found, milliseconds: performance.now() - start };
  },
  async track(frame, options) {
    const start = performance.now();
    const pixels = readPixels(frame, LIVE_SIDE);
    const tracked = await loaded().track(pixels, { ...options, scale: pixels.scale });
    return "late" in tracked ? tracked : { ...tracked, milliseconds: performance.now() - start };
  },
  reset: async () => loaded().reset(),
};

// One at a time, in the order they came: the networks cannot run twice at once.
let last = Promise.resolve();
self.onmessage = ({ data: { number, method, values } }) => {
  last = last.then(async () => {
    try {
      const value = await methods[method](...values);
      tellState();
      postMessage({ number, value });
    } catch (error) {
      const { reason, message } = toDeviceError(error, "The image cannot be recognized");
      postMessage({ number, error: { reason, message } });
    }
  });
};

function loaded() {
  if (!recognizer) throw new DeviceError("closed", "The recognizer is not loaded. Load it first.");
  return recognizer;
}

// The backend changes where the graphics processor is lost.
function tellState() {
  const now = JSON.stringify(recognizer?.state);
  if (now !== state) postMessage({ state: recognizer?.state });
  state = now;
}
