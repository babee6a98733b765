// Face crops: the only place that cuts a face out of a frame.

import { roundEven, shrinkByArea } from "./resize.js";

/** @typedef {import("./types.js").Pixels} Pixels */

const MAX_SIDE = 512; // pixels; a larger face is shrunk to this, far above the input size of our models
const MAX_ROLL = 60; // degrees; a head tilted further is left as it is, landmarks that say so are mostly wrong
const MIN_EYE_DISTANCE = 0.2; // of the box's width; nearer eyes (a profile) give no usable angle

/**
 * Cut a square around a face, turned upright by its eyes where they are known.
 *
 * The square shares the box's center; its side is (1 + margin) times the longer side of the box. Where it leaves the
 * frame the frame's edge is repeated. Nothing is enlarged.
 * @param {Pixels} frame
 * @param {number[]} box left, top, right, bottom in pixels of the frame
 * @param {number[][] | null} landmarks five points in pixels, or null
 * @param {number} margin share of the box's longer side that is added; negative cuts tighter, greater than -1
 * @returns {Pixels} a square of at most `MAX_SIDE`; without a turn its pixels are those of the frame
 */
export function cropFace(frame, [left, top, right, bottom], landmarks, margin) {
  const side = Math.max(1, (1 + margin) * Math.max(right - left, bottom - top));
  const roll = landmarks ? rollOf(landmarks, right - left) : 0;
  // The upright square of this side holds the turned one.
  const reach = roundEven(side * (Math.abs(Math.cos(roll)) + Math.abs(Math.sin(roll))));
  const middle = [(left + right) / 2, (top + bottom) / 2];
  const corner = middle.map((place) => roundEven(place - reach / 2));
  let patch = cut(frame, corner[0], corner[1], reach);

  const shrink = Math.min(1, MAX_SIDE / side);
  if (shrink < 1) {
    const size = roundEven(reach * shrink);
    patch = shrinkByArea(patch, size, size, 1 / shrink);
  }
  if (roll === 0) return patch;
  const center = middle.map((place, axis) => (place - corner[axis]) * shrink - 0.5); // pixel centers are whole numbers
  return turn(patch, center, roll, roundEven(side * shrink));
}

/**
 * Compute the head's tilt in radians, clockwise in the image; 0 where the eyes give no usable angle.
 * @param {number[][]} landmarks
 * @param {number} width of the box
 */
function rollOf([right, left], width) {
  const [dx, dy] = [left[0] - right[0], left[1] - right[1]];
  const roll = Math.atan2(dy, dx);
  const usable = Math.hypot(dx, dy) >= MIN_EYE_DISTANCE * width && Math.abs((roll * 180) / Math.PI) <= MAX_ROLL;
  return usable ? roll : 0;
}

/**
 * Cut out the square at (x, y); beyond the frame its edge is repeated.
 * @param {Pixels} frame
 * @param {number} left
 * @param {number} top
 * @param {number} side
 * @returns {Pixels}
 */
function cut(frame, left, top, side) {
  const from = new Uint32Array(frame.data.buffer, frame.data.byteOffset, frame.width * frame.height);
  const to = new Uint32Array(side * side);
  const clip = (/** @type {number} */ value, /** @type {number} */ size) => Math.min(Math.max(value, 0), size - 1);
  for (let y = 0; y < side; y++) {
    const row = frame.width * clip(top + y, frame.height);
    for (let x = 0; x < side; x++) to[side * y + x] = from[row + clip(left + x, frame.width)];
  }
  return { data: new Uint8ClampedArray(to.buffer), width: side, height: side };
}

/**
 * Turn an image about a point, which becomes the middle of the result: OpenCV's warpAffine with INTER_LINEAR, whose
 * places are multiples of 1/32 of a pixel.
 * @param {Pixels} image
 * @param {number[]} center x and y in pixels
 * @param {number} roll in radians, counterclockwise
 * @param {number} side of the result in pixels
 * @returns {Pixels}
 */
function turn({ data, width, height }, center, roll, side) {
  const [cos, sin] = [1024 * Math.cos(roll), 1024 * Math.sin(roll)];
  const half = (side - 1) / 2;
  const startX = 1024 * center[0] - cos * half + sin * half;
  const startY = 1024 * center[1] - sin * half - cos * half;
  const out = new Uint8ClampedArray(4 * side * side).fill(255);
  for (let y = 0, to = 0; y < side; y++) {
    const rowX = roundEven(startX - sin * y) + 16;
    const rowY = roundEven(startY + cos * y) + 16;
    for (let x = 0; x < side; x++, to += 4) {
      const placeX = Math.min(Math.max((rowX + roundEven(cos * x)) >> 5, 0), 32 * (width - 1));
      const placeY = Math.min(Math.max((rowY + roundEven(sin * x)) >> 5, 0), 32 * (height - 1));
      const [u, v] = [placeX & 31, placeY & 31];
      const at = 4 * (width * (placeY >> 5) + (placeX >> 5));
      const right = u ? 4 : 0;
      const below = v ? 4 * width : 0;
      for (let i = at; i < at + 3; i++) {
        const upper = (32 - u) * data[i] + u * data[i + right];
        const lower = (32 - u) * data[i + below] + u * data[i + below + right];
        out[to + i - at] = ((32 - v) * upper + v * lower + 512) >> 10;
      }
    }
  }
  return { data: out, width: side, height: side };
}
