// Face crops -> a probability per label, with a checkpoint's ONNX file and its own image processor.

import { DeviceError } from "./errors.js";
import { ImageProcessor } from "./image_processor.js";

/** @typedef {import("./types.js").Pixels} Pixels */

const BATCH_SIZE = 64; // images per pass, so that a crowd does not exhaust the memory
const DEFAULT_MARGIN = 0; // for checkpoints whose config has no crop_margin

// Names that expression checkpoints use. They tell an expression classifier from any other; nothing maps by them.
const EXPRESSIONS = new Set(
  ("anger angry contempt disgust disgusted fear fearful happiness happy neutral sad sadness surprise " + "surprised").split(" "),
);

/** A classifier of face crops. */
export class Classifier {
  /** @type {import("./runtime.js").Session | null} */
  #session = null;
  /** @type {import("./runtime.js").Runtime | null} */
  #runtime = null;

  /**
   * @param {Record<string, any>} config the content of config.json
   * @param {Record<string, any>} preprocessor the content of preprocessor_config.json
   * @throws {DeviceError} they are not those of an expression classifier
   */
  constructor(config, preprocessor) {
    this.labels = labelsOf(config);
    this.cropMargin = config.crop_margin?.yunet ?? DEFAULT_MARGIN;
    if (typeof this.cropMargin !== "number" || !(this.cropMargin > -1 && this.cropMargin <= 2)) {
      throw new DeviceError("model", "crop_margin in config.json cannot be used. Expected a number above -1 and up to 2.");
    }
    this.processor = new ImageProcessor(preprocessor);
  }

  /**
   * Open the network and run it once.
   * @param {import("./runtime.js").Runtime} runtime
   * @param {Uint8Array} model the bytes of the ONNX file
   * @throws {DeviceError} it cannot be run, or gives other outputs
   */
  async open(runtime, model) {
    this.#runtime = runtime;
    this.#session = await runtime.open(model, "The model");
    const gray = { data: new Uint8ClampedArray(4 * 64 * 64).fill(128), width: 64, height: 64 };
    const probabilities = (await this.classify([gray])).flat();
    if (probabilities.length !== this.labels.length || !probabilities.every(Number.isFinite)) {
      throw new DeviceError("model", `The model gives other outputs than the ${this.labels.length} labels of config.json. Export it again.`);
    }
  }

  /**
   * Classify all crops, up to `BATCH_SIZE` in one pass.
   * @param {Pixels[]} crops of any sizes
   * @param {{flip?: boolean}} [options] flip: average the probabilities of each crop and of its mirror image
   * @returns {Promise<number[][]>} for each crop its probabilities, in the order of the labels
   */
  async classify(crops, { flip = false } = {}) {
    const rows = [];
    const step = flip ? BATCH_SIZE / 2 : BATCH_SIZE;
    for (let start = 0; start < crops.length; start += step) {
      const batch = crops.slice(start, start + step);
      const input = this.processor.apply(batch);
      const runtime = /** @type {import("./runtime.js").Runtime} */ (this.#runtime);
      const session = /** @type {import("./runtime.js").Session} */ (this.#session);
      const { logits } = await runtime.run(session, { pixel_values: flip ? withMirrored(input) : input });
      if (!logits) throw new DeviceError("model", "The model has no output called logits. Export it again.");
      const views = flip ? 2 * batch.length : batch.length;
      const labels = logits.length / views;
      const scores = Array.from({ length: views }, (_, i) => softmax(logits.subarray(labels * i, labels * (i + 1))));
      rows.push(...scores.slice(0, batch.length).map((row, i) => (flip ? mean(row, scores[batch.length + i]) : row)));
    }
    return rows;
  }
}

/**
 * Add the mirror images to a batch.
 * @param {{data: Float32Array, dims: number[]}} input (n, 3, height, width)
 * @returns {{data: Float32Array, dims: number[]}} (2 n, 3, height, width)
 */
function withMirrored({ data, dims: [n, ...dims] }) {
  const width = dims[2];
  const both = new Float32Array(2 * data.length);
  both.set(data);
  for (let row = 0; row < data.length; row += width) {
    for (let x = 0; x < width; x++) both[data.length + row + x] = data[row + width - 1 - x];
  }
  return { data: both, dims: [2 * n, ...dims] };
}

/**
 * @param {number[]} one
 * @param {number[]} other
 */
function mean(one, other) {
  return one.map((value, i) => (value + other[i]) / 2);
}

/** @param {Float32Array} logits */
function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/**
 * Give the label names of a config.json in the order of the model's outputs.
 * @param {Record<string, any>} config
 * @returns {string[]}
 */
function labelsOf({ id2label }) {
  const names = id2label && typeof id2label === "object" ? id2label : {};
  const labels = Array.from(Object.keys(names), (_, number) => names[number]);
  const usable = labels.every((label) => typeof label === "string" && label.trim());
  if (!labels.length || !usable || new Set(labels).size !== labels.length) {
    throw new DeviceError("model", "config.json cannot be used. Expected id2label to map 0, 1, 2, ... to different names.");
  }
  if (!labels.some((label) => EXPRESSIONS.has(label.toLowerCase()))) {
    throw new DeviceError("model", `The model is no expression classifier: its labels are ${labels.slice(0, 5).join(", ")}. Expected emotions such as happy and sad.`);
  }
  return labels;
}
