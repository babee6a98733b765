// Where the results of live frames come from: this device, or the server. Both have the same three methods, and answer
// a frame with { faces, labels, width, height, work }, boxes in pixels of (width, height), work in milliseconds; or with
// { late: true } where a newer frame was faster; or with { error } in a sentence, and broken: true where loading the
// source again is the only help.

const LONG_SIDE = 480; // pixels of the frame that is sent, and recorded; faces are classified at 48, so more would only cost speed
const QUALITY = 0.8;
const ENDS = ["closed", "gpu_lost", "memory", "model", "unsupported"]; // reasons of the engine after which none will come

/** The recognition engine of this page; frames stay on the device. */
export class DeviceSource {
  name = "device";
  #recognizer = null;
  #loading = { url: null, done: null };
  #start = null;

  /** @param {() => string} address of the device.json of the model in use */
  constructor(address) {
    this.address = address;
  }

  /**
   * Tell whether the model in use runs here; nothing large is loaded.
   * @returns {Promise<string>} the reason why not, as a sentence, or ""
   */
  async refusal() {
    try {
      const { EmotionRecognizer } = await engine();
      const problem = EmotionRecognizer.unsupported();
      if (problem) return problem.message;
      await describe(this.address());
      return "";
    } catch (error) {
      return error.message;
    }
  }

  /**
   * Load the model in use, once.
   * @param {(progress: {loaded: number, total: number}) => void} onProgress in bytes
   * @throws {Error} with the reason as a sentence
   */
  load(onProgress) {
    const url = this.address();
    if (this.#loading.url !== url) {
      this.close();
      const loading = (this.#loading = { url, done: this.#load(url, onProgress) });
      loading.done.catch(() => this.#loading === loading && this.close()); // so that the next start tries again
    }
    return this.#loading.done;
  }

  async #load(url, onProgress) {
    const { EmotionRecognizer } = await engine();
    const recognizer = await EmotionRecognizer.load({ ...(await describe(url)), onProgress });
    if (this.#loading.url !== url) return recognizer.close(); // another model was chosen meanwhile
    this.#recognizer = recognizer;
  }

  async see(video, { start, seconds, smoothing, threshold }) {
    if (!video.videoWidth) return { late: true };
    if (!this.#recognizer) return { error: "The model is not loaded. Start again.", broken: true };
    const [width, height] = [video.videoWidth, video.videoHeight];
    if (this.#start !== start) this.#recognizer.reset();
    this.#start = start;
    try {
      const answer = await this.#recognizer.track(video, { seconds, smoothing, threshold });
      return { ...answer, width, height, work: answer.milliseconds };
    } catch (error) {
      return { error: error.message, broken: ENDS.includes(error.reason) };
    }
  }

  /**
   * Recognize the faces of one image, once the model is loaded.
   * @param {Blob} image
   * @param {{wholeImage: boolean}} options
   */
  recognize(image, options) {
    return this.#recognizer.recognize(image, options);
  }

  /** The labels in the model's order, once it is loaded. */
  get labels() {
    return this.#recognizer.labels;
  }

  /** Free the memory of the model. */
  close() {
    this.#recognizer?.close();
    this.#recognizer = null;
    this.#loading = { url: null, done: null };
  }
}

/** The module of the engine, which is loaded when it is needed first. */
function engine() {
  return import("./on_device/index.js").catch(() => {
    throw new Error("The recognition engine cannot be reached.");
  });
}

/** Read a device.json: what `EmotionRecognizer.load` takes, with addresses relative to the file's own. */
async function describe(url) {
  const response = await fetch(url).catch(() => null);
  if (!response) throw new Error("The description of the model cannot be reached.");
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(content.detail ?? "This model is not offered to browsers.");
  for (const name of ["model", "detector", "runtime"]) {
    if (content[name]) content[name] = new URL(content[name], response.url).href;
  }
  return content;
}

/** The functions of the page's server, which gets each frame as a small JPEG. */
export class ServerSource {
  name = "server";
  // Not toBlob: Chromium runs it when idle, and on a busy machine waits up to two seconds for that.
  #canvas = document.createElement("canvas");

  constructor(server, model) {
    Object.assign(this, { server, model });
  }

  async load() {}

  async see(video, frame) {
    const scale = Math.min(1, LONG_SIDE / Math.max(video.videoWidth, video.videoHeight));
    const [width, height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
    if (!width || !height) return { late: true };
    const canvas = this.#canvas;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
    const image = canvas.toDataURL("image/jpeg", QUALITY);
    const answer = await this.server.recognize_frame({ image, ...frame, model: this.model() });
    if (!answer) return { error: "The server does not answer; trying again…" };
    return { ...answer, width, height, work: answer.server_ms };
  }

  close() {}
}
