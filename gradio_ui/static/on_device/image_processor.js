// A saved image processor: the same pixels as Python's, from preprocessor_config.json alone.

import { DeviceError } from "./errors.js";
import { resizeLikePillow } from "./resize.js";

/** @typedef {import("./types.js").Pixels} Pixels */

const CONVNEXT_WARPS = 384; // pixels; ConvNextImageProcessor crops below this side and warps from it on
const MAX_SIDE = 4096; // pixels of a model's input; far more than any face classifier takes

/** A maker of a model's input from crops, as transformers' `ViTImageProcessor` and `ConvNextImageProcessor` do. */
export class ImageProcessor {
  /**
   * @param {Record<string, any>} config the content of preprocessor_config.json; a value it lacks is not guessed
   * @throws {DeviceError} it is another image processor, or one with values that are not known here
   */
  constructor(config) {
    const { image_processor_type: kind, size = {}, resample, rescale_factor: factor, crop_pct: share = 1 } = config;
    const sides = { ViTImageProcessor: [size.height, size.width], ConvNextImageProcessor: Array(2).fill(size.shortest_edge) };
    const [height, width] = sides[/** @type {keyof typeof sides} */ (kind)] ?? [];
    const [mean, std] = [config.image_mean, config.image_std];
    const whole = [height, width].every((side) => Number.isInteger(side) && side > 0 && side <= MAX_SIDE);
    const numbers = [mean, std].every((list) => Array.isArray(list) && list.length === 3 && list.every(Number.isFinite));
    const steps = config.do_resize && config.do_rescale && config.do_normalize;
    const known = [0, 1, 2, 3, 4, 5].includes(resample) && factor > 0 && share > 0 && share <= 1;
    if (!whole || !numbers || !steps || !known || !std.every((/** @type {number} */ one) => one > 0)) {
      throw new DeviceError(
        "model",
        `preprocessor_config.json describes a ${kind} with settings that only Python can serve. Expected a ` +
          "ViTImageProcessor or ConvNextImageProcessor that resizes, rescales and normalizes RGB images.",
      );
    }
    this.height = height;
    this.width = width;
    this.resample = resample;
    this.share = kind === "ConvNextImageProcessor" && height < CONVNEXT_WARPS ? share : null;
    const f = Math.fround; // in the order and the precisions of Python's
    this.tables = mean.map((/** @type {number} */ m, /** @type {number} */ channel) =>
      Float32Array.from({ length: 256 }, (_, i) => f(f(f(i * factor) - f(m)) / f(std[channel]))),
    );
  }

  /**
   * Resize and normalize.
   * @param {Pixels[]} crops of any sizes, at least one
   * @returns {{data: Float32Array, dims: number[]}} (n, 3, height, width)
   */
  apply(crops) {
    const plane = this.height * this.width;
    const data = new Float32Array(crops.length * 3 * plane);
    crops.forEach((crop, number) => {
      const { data: pixels, width, left, top } = this.#resize(crop);
      this.tables.forEach((/** @type {Float32Array} */ table, /** @type {number} */ channel) => {
        let to = (3 * number + channel) * plane;
        for (let y = 0; y < this.height; y++) {
          let from = 4 * (width * (top + y) + left) + channel;
          for (let x = 0; x < this.width; x++, from += 4) data[to++] = table[pixels[from]];
        }
      });
    });
    return { data, dims: [crops.length, 3, this.height, this.width] };
  }

  /**
   * @param {Pixels} crop
   * @returns {Pixels & {left: number, top: number}} the resized image, and where the input begins in it
   */
  #resize(crop) {
    if (this.share === null) {
      return { ...resizeLikePillow(crop, this.width, this.height, this.resample), left: 0, top: 0 };
    }
    // The short edge a little too large, then the middle: the evaluation of ImageNet.
    const short = Math.trunc(this.height / this.share);
    const shortest = Math.min(crop.width, crop.height);
    const [columns, rows] = [crop.width, crop.height].map((side) =>
      side === shortest ? short : Math.trunc((short * side) / shortest),
    );
    const resized = resizeLikePillow(crop, columns, rows, this.resample);
    return { ...resized, left: Math.floor((columns - this.width) / 2), top: Math.floor((rows - this.height) / 2) };
  }
}
