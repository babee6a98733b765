// Face crops -> a probability per label, with a checkpoint's ONNX file and its own image processor.

import { DeviceError } from "./errors.js";
import { ImageProcessor } from "./image_processor.js";

/** @typedef {import("./types.js").Pixels} Pixels */

const BATCH_SIZE = 64; // faces per pass, so that a crowd does not exhaust the memory
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
   * @returns {Promise<number[][]>} for each crop its probabilities, in the order of the labels
   */
  async classify(crops) {
    const rows = [];
    for (let start = 0; start < crops.length; start += BATCH_SIZE) {
      const batch = crops.slice(start, start + BATCH_SIZE);
      const runtime = /** @type {import("./runtime.js").Runtime} */ (this.#runtime);
      const session = /** @type {import("./runtime.js").Session} */ (this.#session);
      const { logits } = await runtime.run(session, { pixel_values: this.processor.apply(batch) });
      if (!logits) throw new DeviceError("model", "The model has no output called logits. Export it again.");
      const labels = logits.length / batch.length;
      for (let i = 0; i < batch.length; i++) rows.push(softmax(logits.subarray(labels * i, labels * (i + 1))));
    }
    return rows;
  }
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
