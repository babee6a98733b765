// Composition of the engine: an image -> its faces -> a probability per label for each face.

import { Classifier } from "./classifier.js";
import { cropFace } from "./crop.js";
import { Detector, YUNET_SHA256, YUNET_URL, scalesOf } from "./detector.js";
import { DeviceError } from "./errors.js";
import { Progress, fetchFile, fetchJSON } from "./files.js";
import { Runtime, chooseBackend } from "./runtime.js";
import { ExpressionSession } from "./tracker.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Face} Face */
/** @typedef {import("./types.js").Backend} Backend */
/** @typedef {import("./types.js").Precision} Precision */
/** @typedef {Omit<import("./types.js").LoadOptions, "onProgress">} Options */

/** @type {Record<Precision, string>} */
const ONNX_FILES = { float32: "onnx/model.onnx", int8: "onnx/model_quantized.onnx" };
const FULL_SEARCH_SECONDS = 0.25; // between two searches of all of a live frame at both scales
const LARGE_ENOUGH = 32; // pixels of a face in the shrunk frame, from which on it is followed there; as in recognition/live.py
// In a crowd the faces of a live frame are scored in turn, so that the boxes keep up: as many as this time allows, and
// at least one.
const SCORING_MS = 20;

/** The engine itself; it runs in the worker. */
export class Recognizer {
  /** @type {Backend} */
  backend = "wasm";
  /** @type {Precision} */
  precision = "float32";
  /** @type {{faces: Face[], scales: number[], searched: number, size: string}} what the last live frame showed */
  #seen = nothingSeen();
  #seconds = -Infinity;
  #faceMs = Infinity; // to score a face, by the last frame

  /**
   * Use `load`.
   * @param {Options} options
   * @param {Classifier} classifier
   * @param {Record<string, string>} checksums of the model folder
   */
  constructor(options, classifier, checksums) {
    this.options = options;
    this.classifier = classifier;
    this.checksums = checksums;
    this.detector = new Detector();
    this.session = new ExpressionSession(classifier.labels);
  }

  /**
   * Load the model's files, the detector and the runtime, and run each once.
   * @param {Options} options
   * @param {import("./types.js").OnProgress} onProgress
   * @returns {Promise<Recognizer>}
   * @throws {DeviceError} something cannot be loaded or run
   */
  static async load(options, onProgress) {
    const progress = new Progress(onProgress);
    const backend = await chooseBackend(options.backend ?? "auto");
    const checksums = await checksumsOf(options);
    const [config, preprocessor] = await Promise.all(
      ["config.json", "preprocessor_config.json"].map((file) =>
        fetchJSON(inFolder(options.model, file), { sha256: checksums[file] }),
      ),
    );
    const recognizer = new Recognizer(options, new Classifier(config, preprocessor), checksums);
    try {
      await recognizer.#open(backend, progress);
    } catch (error) {
      const mayFallBack = (options.backend ?? "auto") === "auto" && backend === "webgpu";
      if (!mayFallBack || (error instanceof DeviceError && ["network", "missing", "corrupt"].includes(error.reason))) throw error;
      await recognizer.#open("wasm", progress);
    }
    return recognizer;
  }

  /** @returns {{labels: string[], backend: Backend, precision: Precision}} */
  get state() {
    return { labels: this.classifier.labels, backend: this.backend, precision: this.precision };
  }

  /**
   * Recognize all faces of an image.
   * @param {Pixels} image
   * @param {{wholeImage?: boolean, flip?: boolean}} options
   * @returns {Promise<Omit<import("./types.js").Recognition, "milliseconds">>}
   */
  async recognize(image, { wholeImage = false, flip = true }) {
    const { width, height } = image;
    return this.#survive(async () => {
      /** @type {Face[]} */
      const faces = wholeImage ? [{ box: [0, 0, width, height], confidence: 1, landmarks: null }] : await this.detector.detect(image);
      const crops = wholeImage ? [image] : this.#crops(image, faces);
      const scores = await this.classifier.classify(crops, { flip });
      return { width, height, faces: faces.map((face, i) => ({ ...face, ...this.#named(scores[i]) })) };
    });
  }

  /**
   * Recognize and follow the faces of the next frame of a live video.
   * @param {Pixels} frame
   * @param {{seconds: number, smoothing: number, threshold: number, scale: number}} options scale: of the boxes that
   *   are told, to those of the frame
   * @returns {Promise<{faces: import("./types.js").TrackedFace[], labels: string[]} | {late: true}>}
   */
  async track(frame, { seconds, smoothing, threshold, scale }) {
    if (!(seconds > this.#seconds)) return { late: true };
    this.#seconds = seconds;
    const found = await this.#survive(() => this.#look(frame, seconds));
    const ids = this.session.identify(found.map(({ box }) => box), seconds);
    const chosen = this.session.choose(ids, Math.max(1, Math.floor(SCORING_MS / this.#faceMs)));
    const start = performance.now();
    const crops = this.#crops(frame, chosen.map((place) => found[place]));
    const scores = await this.#survive(() => this.classifier.classify(crops));
    if (chosen.length) this.#faceMs = (performance.now() - start) / chosen.length;
    const faces = found.map(({ box, confidence }, place) => ({ box, confidence, scores: scores[chosen.indexOf(place)] }));
    const followed = this.session.follow(faces, ids, seconds, { smoothing, threshold });
    for (const face of followed) face.box = face.box.map((place) => Number((place * scale).toFixed(1)));
    return { faces: followed, labels: this.classifier.labels };
  }

  /** Forget the faces followed so far; ids start at 1 again. */
  reset() {
    this.session.reset();
    this.#seen = nothingSeen();
    this.#seconds = -Infinity;
  }

  /**
   * Find the faces of a live frame: near those that are known, each at the scale at which it was found, and now and
   * then all over; `recognition/live.py` does the same. Where none is known, the small scale is searched, which is
   * cheap.
   * @param {Pixels} frame
   * @param {number} seconds
   * @returns {Promise<Face[]>}
   */
  async #look(frame, seconds) {
    const { faces, scales, searched, size } = this.#seen;
    const shape = `${frame.width}x${frame.height}`;
    const [small, large] = scalesOf(frame);
    let due = shape !== size || seconds - searched >= FULL_SEARCH_SECONDS;
    let found;
    if (!due) {
      const near = (/** @type {number} */ scale) => faces.filter((_, i) => scales[i] === scale).map(({ box }) => box);
      const known = [small, large].map((scale) => ({ scale, near: near(scale) })).filter((one) => one.near.length);
      const searches = known.length ? known : [{ scale: small, near: null }];
      found = await this.detector.search(frame, searches, LARGE_ENOUGH);
      due = found.faces.length < faces.length; // one is lost: it moved far, or went
    }
    if (due || !found) found = await this.detector.searchAll(frame, LARGE_ENOUGH);
    this.#seen = { ...found, searched: due ? seconds : searched, size: shape };
    return found.faces;
  }

  /**
   * @param {Pixels} frame
   * @param {Face[]} faces
   */
  #crops(frame, faces) {
    return faces.map(({ box, landmarks }) => cropFace(frame, box, landmarks, this.classifier.cropMargin));
  }

  /** @param {number[]} scores */
  #named(scores) {
    const { labels } = this.classifier;
    const probabilities = Object.fromEntries(labels.map((label, i) => [label, scores[i]]));
    return { label: labels[scores.indexOf(Math.max(...scores))], probabilities };
  }

  /**
   * Do something; where the graphics processor is lost meanwhile, go on with WebAssembly.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #survive(work) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DeviceError) || error.reason !== "gpu_lost") throw error;
      await this.#open("wasm", new Progress(() => {}));
      return work();
    }
  }

  /**
   * @param {Backend} backend
   * @param {Progress} progress
   */
  async #open(backend, progress) {
    const { detector, runtime: folder, checksums = {} } = this.options;
    const yunet = { sha256: checksums.detector ?? (detector ? undefined : YUNET_SHA256), progress };
    const [runtime, found, model] = await Promise.all([
      Runtime.load(backend, { folder: folder && String(folder), progress }),
      fetchFile(String(detector ?? YUNET_URL), yunet),
      this.#fetchModel(backend, progress),
    ]);
    await this.detector.open(runtime, found);
    await this.classifier.open(runtime, model.data);
    Object.assign(this, { backend, precision: model.precision });
  }

  /**
   * @param {Backend} backend
   * @param {Progress} progress
   * @returns {Promise<{data: Uint8Array, precision: Precision}>}
   */
  async #fetchModel(backend, progress) {
    const wanted = this.options.precision ?? "auto";
    const precision = wanted === "auto" ? (backend === "wasm" ? "int8" : "float32") : wanted;
    try {
      return { data: await this.#fetchPrecision(precision, progress), precision };
    } catch (error) {
      const other = wanted === "auto" && precision === "int8";
      if (!other || !(error instanceof DeviceError) || error.reason !== "missing") throw error;
      return { data: await this.#fetchPrecision("float32", progress), precision: "float32" };
    }
  }

  /**
   * @param {Precision} precision
   * @param {Progress} progress
   */
  #fetchPrecision(precision, progress) {
    const file = ONNX_FILES[precision];
    return fetchFile(inFolder(this.options.model, file), { sha256: this.checksums[file], progress });
  }
}

/** @returns {{faces: Face[], scales: number[], searched: number, size: string}} */
function nothingSeen() {
  return { faces: [], scales: [], searched: -Infinity, size: "" };
}

/**
 * @param {string | URL} folder
 * @param {string} file
 */
function inFolder(folder, file) {
  const base = String(folder);
  return new URL(file, base.endsWith("/") ? base : `${base}/`).href;
}

/**
 * Give the checksums of a model folder: those passed in, or those of its report.
 * @param {Options} options
 * @returns {Promise<Record<string, string>>}
 */
async function checksumsOf({ model, checksums }) {
  if (checksums && Object.keys(checksums).some((file) => file !== "detector")) return checksums;
  const report = await fetchJSON(inFolder(model, "report.json"), { optional: true });
  const files = report?.schema_version ? (report.files ?? {}) : {}; // somebody else's file of that name has none
  const valid = Object.values(files).every((sum) => /^[0-9a-f]{64}$/.test(String(sum)));
  if (!valid) throw new DeviceError("corrupt", "report.json is damaged: expected SHA-256 checksums. Publish the model again.");
  return files;
}
