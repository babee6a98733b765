/**
 * Faces and their apparent expressions in the browser: no frame leaves the device.
 *
 *   import { EmotionRecognizer } from "./on_device/index.js";
 *   const recognizer = await EmotionRecognizer.load({ model: "https://huggingface.co/user/name/resolve/main/" });
 *   const { faces } = await recognizer.recognize(document.querySelector("img"));
 *
 * The work is done in a Web Worker, so the page is never blocked.
 */

import { UNCLEAR_BELOW } from "./doubt.js";
import { DeviceError } from "./errors.js";
import { unsupported } from "./support.js";

export { DeviceError };

/** @typedef {import("./types.js").LoadOptions} LoadOptions */
/** @typedef {import("./types.js").Recognition} Recognition */
/** @typedef {import("./types.js").Tracked} Tracked */
/** @typedef {ImageBitmap | VideoFrame | ImageData | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement |
 *   HTMLVideoElement | Blob} ImageSource */
/** @typedef {{resolve: (value: any) => void, reject: (error: DeviceError) => void}} Waiting */

// Images as they are meant to be seen, with the colors of the file: Python's engine applies no color profile either.
/** @type {ImageBitmapOptions} */
const AS_IT_IS = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** A recognizer of the apparent expression of every face in an image or a live video, made by `load`. */
export class EmotionRecognizer {
  /** @type {string[]} the labels in the model's order */
  labels = [];
  /** @type {import("./types.js").Backend} what runs the networks */
  backend = "wasm";
  /** @type {import("./types.js").Precision} of the classifier */
  precision = "float32";
  /** @type {Worker} */
  #worker;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #number = 0;
  /** @type {import("./types.js").OnProgress | undefined} */
  #onProgress;
  /** @type {DeviceError | null} */
  #broken = null;
  #tracking = false;
  /** @type {{frame: any, options: object, resolve: (tracked: any) => void, reject: (error: unknown) => void} | null} */
  #next = null;

  /** Use `load`. */
  constructor() {
    this.#worker = openWorker();
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const text = event.message || "its file cannot be loaded";
      this.#break(new DeviceError("unsupported", `The recognizer's worker stopped: ${text}. Reload the page.`));
    };
  }

  /**
   * Tell whether this browser can run the engine.
   * @returns {DeviceError | null} the reason why it cannot, or null
   */
  static unsupported() {
    return unsupported();
  }

  /**
   * Load the runtime, the detector and the classifier, and run each once.
   * @param {LoadOptions} options
   * @returns {Promise<EmotionRecognizer>}
   * @throws {DeviceError} something cannot be loaded or run
   */
  static async load({ onProgress, ...options }) {
    const problem = unsupported();
    if (problem) throw problem;
    const recognizer = new EmotionRecognizer();
    recognizer.#onProgress = onProgress;
    /** @type {Record<string, any>} */
    const absolute = { ...options };
    for (const name of ["model", "detector", "runtime"]) {
      if (absolute[name]) absolute[name] = new URL(absolute[name], document.baseURI).href;
    }
    try {
      Object.assign(recognizer, await recognizer.#call("load", [absolute]));
    } catch (error) {
      recognizer.close();
      throw error;
    }
    return recognizer;
  }

  /**
   * Recognize all faces of an image.
   * @param {ImageSource} image an ImageBitmap or VideoFrame is handed over, and closed afterwards
   * @param {{wholeImage?: boolean, flip?: boolean}} [options] wholeImage: take the image as one face instead of looking for
   *   faces; flip: average the probabilities of each face and of its mirror image
   * @returns {Promise<Recognition>}
   * @throws {DeviceError} the image cannot be read, or the networks cannot be run
   */
  async recognize(image, { wholeImage = false, flip = true } = {}) {
    const [sent, handed] = await transferable(image);
    return this.#call("recognize", [sent, { wholeImage, flip }], handed);
  }

  /**
   * Recognize and follow the faces of the next frame of a live video, which is shrunk as for the server. While a frame is worked on one other may wait; a
   * frame whose place a newer one takes is late.
   * @param {ImageSource} frame an ImageBitmap or VideoFrame is handed over, and closed afterwards
   * @param {{seconds: number, smoothing?: number, threshold?: number}} options seconds: when the frame was shown, on
   *   any clock that only grows; smoothing: time constant in seconds, 0 for none; threshold: probability below which a
   *   label is unclear
   * @returns {Promise<Tracked>} what the server's live mode answers
   * @throws {DeviceError} the frame cannot be read, or the networks cannot be run
   */
  async track(frame, { seconds, smoothing = 0.5, threshold = UNCLEAR_BELOW }) {
    const options = { seconds, smoothing, threshold };
    if (!this.#tracking) return this.#track(frame, options);
    // A video and a canvas show another frame by the time it is their turn, so their pixels are taken now.
    const [taken] = await transferable(frame);
    return new Promise((resolve, reject) => {
      this.#dropNext();
      this.#next = { frame: taken, options, resolve, reject };
      this.#trackNext();
    });
  }

  /**
   * @param {ImageSource} frame
   * @param {object} options
   * @returns {Promise<Tracked>}
   */
  async #track(frame, options) {
    this.#tracking = true;
    try {
      const [sent, handed] = await transferable(frame);
      return await this.#call("track", [sent, options], handed);
    } finally {
      this.#tracking = false;
      this.#trackNext();
    }
  }

  #trackNext() {
    if (this.#tracking || !this.#next) return;
    const { frame, options, resolve, reject } = this.#next;
    this.#next = null;
    this.#track(frame, options).then(resolve, reject);
  }

  #dropNext() {
    this.#next?.resolve({ late: true });
    this.#next?.frame.close?.();
    this.#next = null;
  }

  /** Forget the faces followed by `track`; ids start at 1 again. */
  reset() {
    this.#dropNext();
    this.#call("reset", []).catch(() => {}); // a broken recognizer says so at the next frame
  }

  /** End the worker and free its memory. What is still waited for is rejected. */
  close() {
    this.#dropNext();
    this.#break(new DeviceError("closed", "The recognizer was closed. Load it again."));
  }

  /**
   * @param {string} method
   * @param {unknown[]} values
   * @param {Transferable[]} [handed]
   * @returns {Promise<any>}
   */
  #call(method, values, handed = []) {
    if (this.#broken) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      const number = ++this.#number;
      this.#waiting.set(number, { resolve, reject });
      this.#worker.postMessage({ number, method, values }, handed);
    });
  }

  /** @param {any} message */
  #receive({ number, value, error, progress, state }) {
    if (progress) return this.#onProgress?.(progress);
    if (state) return Object.assign(this, state);
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (error) waiting?.reject(new DeviceError(error.reason, error.message));
    else waiting?.resolve(value);
  }

  /** @param {DeviceError} error */
  #break(error) {
    this.#broken ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** @returns {Worker} */
function openWorker() {
  const script = new URL("./worker.js", import.meta.url);
  if (script.origin === location.origin) return new Worker(script, { type: "module" });
  // A page may not start a worker from another site, but its own worker may import modules from there.
  const own = URL.createObjectURL(new Blob([`import ${JSON.stringify(script.href)};`], { type: "text/javascript" }));
  const worker = new Worker(own, { type: "module" });
  setTimeout(() => URL.revokeObjectURL(own), 60_000);
  return worker;
}

/**
 * Turn an image into what a worker takes.
 * @param {any} image
 * @returns {Promise<[any, Transferable[]]>} the image, and what of it is handed over
 */
async function transferable(image) {
  if (image instanceof ImageBitmap) return [image, [image]];
  if (globalThis.VideoFrame && image instanceof VideoFrame) return [image, [image]];
  if (image instanceof ImageData) return [image, []];
  try {
    if (globalThis.VideoFrame && image instanceof HTMLVideoElement && image.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
      const frame = new VideoFrame(image); // a reference to the pixels, which the worker copies
      return [frame, [frame]];
    }
    const bitmap = await createImageBitmap(image, AS_IT_IS);
    return [bitmap, [bitmap]];
  } catch (error) {
    throw new DeviceError("image", `The image cannot be read (${error instanceof Error ? error.message : error}). Expected a loaded image, a canvas, a video or an image file.`);
  }
}
