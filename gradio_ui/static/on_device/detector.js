// Face detection with YuNet: whole images at two scales, live video near the faces that are known.

import { DeviceError } from "./errors.js";
import { freeSize } from "./onnx_shape.js";
import { enlargeCubic, roundEven, shrinkByArea } from "./resize.js";

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {import("./types.js").Face} Face */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Window in pixels of a scaled image */
/** @typedef {{scale: number, near: number[][] | null}} Search near: boxes in pixels of the image, in whose surroundings
 *   faces are searched; null searches all of it */

export const YUNET_URL =
  "https://huggingface.co/opencv/face_detection_yunet/resolve/3cc26e7f1014a5ee5d74a42acee58bafc9d0a310/face_detection_yunet_2023mar.onnx";
export const YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4";

const [SMALL_SIDE, LARGE_SIDE] = [256, 1280]; // pixels
const LEAST_SIDE = 160; // pixels; frames with a shorter long side are enlarged to this
const STRIDES = [8, 16, 32]; // pixels to a cell of each of its grids
const COARSEST = 32;
// The least pixels around a face that are searched with it, and no less than its own side: with half the side, boxes of
// a talking person were off by 1.5 pixels in the median, with the whole side by 0.1.
const CONTEXT = 64;
const SCORE = 0.7; // the least confidence of a face
const NMS_IOU = 0.3;
const OVERLAP = 0.5;
const OUTPUTS = ["cls", "obj", "bbox", "kps"].flatMap((kind) => STRIDES.map((stride) => `${kind}_${stride}`));

/**
 * YuNet (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y), which was trained on faces of 10 to 300 pixels: a
 * larger one gets a wrong box. So each image is searched at two scales: shrunk until even a close-up is small, and
 * large enough for small faces. See `gradio_ui/recognition/detector.py`, which gives the same boxes.
 */
export class Detector {
  /** @type {import("./runtime.js").Session | null} */
  #session = null;
  /** @type {import("./runtime.js").Runtime | null} */
  #runtime = null;

  /**
   * Open the network and run it once.
   * @param {import("./runtime.js").Runtime} runtime
   * @param {Uint8Array} file the bytes of its ONNX file
   * @throws {DeviceError} it is no YuNet, or cannot be run
   */
  async open(runtime, file) {
    const { model, inputs, outputs } = freeSize(file);
    if (inputs.join() !== "input" || outputs.length !== OUTPUTS.length || !OUTPUTS.every((one) => outputs.includes(one))) {
      throw new DeviceError("model", "The face detector's file is no YuNet. Expected face_detection_yunet_2023mar.onnx.");
    }
    this.#runtime = runtime;
    this.#session = await runtime.open(model, "The face detector");
    await this.detect({ data: new Uint8ClampedArray(4 * 160 * 160), width: 160, height: 160 });
  }

  /**
   * Find the faces of an image.
   * @param {Pixels} image
   * @returns {Promise<Face[]>} largest first; boxes may reach beyond the image
   */
  async detect(image) {
    return (await this.searchAll(image)).faces;
  }

  /**
   * Search all of an image at all its scales.
   * @param {Pixels} image
   * @param {number} [largeEnough] see `search`
   */
  searchAll(image, largeEnough) {
    return this.search(image, scalesOf(image).map((scale) => ({ scale, near: null })), largeEnough);
  }

  /**
   * Search at some scales.
   * @param {Pixels} image
   * @param {Search[]} searches
   * @param {number} [largeEnough] of a face found at two scales the box of the smaller one is kept where its longer side
   *   has at least so many pixels there, and otherwise the more confident box
   * @returns {Promise<{faces: Face[], scales: number[]}>} the faces, and at which scale each was found
   */
  async search(image, searches, largeEnough = Infinity) {
    /** @type {Face[]} */
    const found = [];
    /** @type {Map<Face, {scale: number, rank: number}>} */
    const origin = new Map();
    const largest = Math.max(...searches.map(({ scale }) => scale));
    for (const { scale, near } of searches) {
      const scaled = rescale(image, scale);
      const faces = [];
      for (const window of windowsOf(scaled, near, scale)) faces.push(...(await this.#searchWindow(scaled, window)));
      for (const face of suppress(faces)) {
        const inFrame = rescaleFace(face, image.width / scaled.width, image.height / scaled.height);
        const [left, top, right, bottom] = inFrame.box;
        const preferred = scale < largest && scale * Math.max(right - left, bottom - top) >= largeEnough;
        origin.set(inFrame, { scale, rank: face.confidence + Number(preferred) });
        found.push(inFrame);
      }
    }
    const of = (/** @type {Face} */ face) => /** @type {{scale: number, rank: number}} */ (origin.get(face));
    const faces = distinct(found, (face) => of(face).rank);
    return { faces, scales: faces.map((face) => of(face).scale) };
  }

  /**
   * @param {Pixels} scaled
   * @param {Window} window
   * @returns {Promise<Face[]>} in pixels of the scaled image
   */
  async #searchWindow(scaled, window) {
    const { left, top } = window;
    const input = inputOf(scaled, window);
    const runtime = /** @type {import("./runtime.js").Runtime} */ (this.#runtime);
    const outputs = await runtime.run(/** @type {import("./runtime.js").Session} */ (this.#session), { input });
    /** @type {Face[]} */
    const faces = [];
    for (const stride of STRIDES) {
      const [cls, obj, boxes, points] = ["cls", "obj", "bbox", "kps"].map((kind) => outputs[`${kind}_${stride}`]);
      const columns = input.dims[3] / stride;
      for (let cell = 0; cell < cls.length; cell++) {
        const confidence = Math.sqrt(cls[cell] * obj[cell]);
        if (!(confidence >= SCORE)) continue;
        const [x, y] = [cell % columns, Math.floor(cell / columns)];
        const [middleX, middleY] = [x + boxes[4 * cell], y + boxes[4 * cell + 1]];
        const [halfX, halfY] = [Math.exp(boxes[4 * cell + 2]) / 2, Math.exp(boxes[4 * cell + 3]) / 2];
        const box = [middleX - halfX, middleY - halfY, middleX + halfX, middleY + halfY];
        const landmarks = Array.from({ length: 5 }, (_, i) => [
          left + stride * (x + points[10 * cell + 2 * i]),
          top + stride * (y + points[10 * cell + 2 * i + 1]),
        ]);
        const placed = box.map((place, side) => stride * place + (side % 2 ? top : left));
        if (inside(placed, window, scaled)) faces.push({ box: placed, confidence, landmarks });
      }
    }
    return faces;
  }
}

/**
 * Give the scales at which an image is searched, the smaller one first.
 * @param {{width: number, height: number}} size
 * @returns {number[]}
 */
export function scalesOf({ width, height }) {
  const longSide = Math.max(width, height);
  const sides = [SMALL_SIDE, LARGE_SIDE].map((limit) => Math.min(Math.max(longSide, LEAST_SIDE), limit));
  return [...new Set(sides)].map((side) => side / longSide);
}

/**
 * @param {Pixels} image
 * @param {number} scale
 * @returns {Pixels}
 */
function rescale(image, scale) {
  if (scale === 1) return image;
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, roundEven(side * scale)));
  return scale < 1 ? shrinkByArea(image, width, height) : enlargeCubic(image, width, height);
}

/**
 * Make the network's input: BGR, 0-255, with zeros up to the next multiple of 32.
 * @param {Pixels} image
 * @param {Window} window
 * @returns {{data: Float32Array, dims: number[]}}
 */
function inputOf({ data, width: stride }, { left, top, right, bottom }) {
  const [width, height] = [right - left, bottom - top].map((side) => Math.ceil(side / COARSEST) * COARSEST);
  const plane = width * height;
  const input = new Float32Array(3 * plane);
  for (let y = top; y < bottom; y++) {
    let to = width * (y - top);
    for (let x = left, from = 4 * (stride * y + left); x < right; x++, from += 4, to++) {
      input[to] = data[from + 2];
      input[plane + to] = data[from + 1];
      input[2 * plane + to] = data[from];
    }
  }
  return { data: input, dims: [1, 3, height, width] };
}

/**
 * Give the parts of a scaled image to search. Those around faces lie on the network's grid and so give the boxes that
 * the whole image gives; where they are larger than the whole, that is taken.
 * @param {Pixels} scaled
 * @param {number[][] | null} near boxes in pixels of the image
 * @param {number} scale
 * @returns {Window[]}
 */
function windowsOf(scaled, near, scale) {
  const whole = { left: 0, top: 0, right: scaled.width, bottom: scaled.height };
  if (!near) return [whole];
  const down = (/** @type {number} */ place) => Math.max(0, Math.floor(place / COARSEST) * COARSEST);
  const up = (/** @type {number} */ place, /** @type {number} */ limit) =>
    Math.min(limit, Math.ceil(place / COARSEST) * COARSEST);
  const windows = near
    .map((box) => box.map((place) => place * scale))
    .map(([left, top, right, bottom]) => {
      const around = Math.max(CONTEXT, right - left, bottom - top);
      return {
        left: down(left - around),
        top: down(top - around),
        right: up(right + around, scaled.width),
        bottom: up(bottom + around, scaled.height),
      };
    })
    .filter(({ left, top, right, bottom }) => right > left && bottom > top);
  const area = windows.reduce((sum, { left, top, right, bottom }) => sum + (right - left) * (bottom - top), 0);
  return area < scaled.width * scaled.height ? windows : [whole];
}

/**
 * Tell whether a box lies within its window, or leaves it only where the image ends, too: what is cut off by a window
 * has a wrong box.
 * @param {number[]} box
 * @param {Window} window
 * @param {Pixels} scaled
 */
function inside([left, top, right, bottom], window, scaled) {
  return (
    (left >= window.left || window.left === 0) &&
    (top >= window.top || window.top === 0) &&
    (right <= window.right || window.right === scaled.width) &&
    (bottom <= window.bottom || window.bottom === scaled.height)
  );
}

/**
 * @param {Face} face
 * @param {number} x
 * @param {number} y
 * @returns {Face}
 */
function rescaleFace({ box, confidence, landmarks }, x, y) {
  const moved = /** @type {number[][]} */ (landmarks).map((point) => [point[0] * x, point[1] * y]);
  return { box: box.map((place, side) => place * (side % 2 ? y : x)), confidence, landmarks: moved };
}

/** @param {number[]} box */
const areaOf = ([left, top, right, bottom]) => Math.max(right - left, 0) * Math.max(bottom - top, 0);

/**
 * @param {number[]} a
 * @param {number[]} b
 */
function sharedArea(a, b) {
  return areaOf([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
}

/**
 * Keep, of the faces in the order of their ranks, those that fit with all kept before.
 * @param {Face[]} faces
 * @param {(face: Face) => number} rank
 * @param {(one: Face, kept: Face) => boolean} fits
 */
function greedy(faces, rank, fits) {
  /** @type {Face[]} */
  const kept = [];
  for (const face of [...faces].sort((a, b) => rank(b) - rank(a))) {
    if (kept.every((other) => fits(face, other))) kept.push(face);
  }
  return kept;
}

/**
 * Suppress what overlaps a more confident box: OpenCV's NMSBoxes.
 * @param {Face[]} faces
 */
function suppress(faces) {
  return greedy(faces, ({ confidence }) => confidence, ({ box: a }, { box: b }) => {
    const shared = sharedArea(a, b);
    return shared <= NMS_IOU * (areaOf(a) + areaOf(b) - shared);
  });
}

/**
 * Select the faces to keep, largest first. Of two boxes whose intersection covers more than half of the smaller one,
 * that of the higher rank stays: unlike intersection over union this also drops a box inside another.
 * @param {Face[]} faces
 * @param {(face: Face) => number} rank
 */
function distinct(faces, rank) {
  const fits = (/** @type {Face} */ { box: a }, /** @type {Face} */ { box: b }) =>
    sharedArea(a, b) <= OVERLAP * Math.min(areaOf(a), areaOf(b));
  return greedy(faces, rank, fits).sort((a, b) => areaOf(b.box) - areaOf(a.box));
}
