// Faces over time: stable ids, probabilities smoothed over elapsed seconds, labels without flicker.
// The rules and their reasons are those of gradio_ui/recognition/tracker.py, and so are the ids.

import { assign } from "./assignment.js";

/** @typedef {import("./types.js").TrackedFace} TrackedFace */
/** @typedef {{box: number[], confidence: number, scores: number[]}} ScoredFace scores: a probability for each label */

const LOST_SECONDS = 2; // a face that is out of sight for longer comes back as a new one
const HYSTERESIS = 0.1; // probability by which another label must lead before it replaces the shown one
const INSTANT = 1e-6; // seconds
const FRAME_RATE = 30; // nominal frames per second, the unit of the motion model
const MIN_SIMILARITY = -0.4; // matches a face up to about its own width beside the predicted place

/** A face's box, its motion and their uncertainty: a Kalman filter of constant velocity for each side of the box. */
class Track {
  id = 0; // 0 until it is seen again
  missed = 0; // seconds
  unseen = 0; // updates
  updates = 1; // in a row

  /** @param {number[]} box */
  constructor(box) {
    this.box = [...box];
    this.velocity = [0, 0, 0, 0]; // pixels per nominal frame
    this.variance = { place: 1, both: 0, velocity: 1 }; // the same for the four sides
  }

  /** @param {number} seconds since the last update */
  predict(seconds) {
    const step = seconds * FRAME_RATE;
    this.box = this.box.map((place, side) => place + step * this.velocity[side]);
    const { place, both, velocity } = this.variance;
    // Noise of the acceleration, but at the nominal rate that of ByteTrack.
    const noise = 0.01;
    const nominal = Math.abs(step - 1) <= 0.004 * FRAME_RATE;
    const added = nominal ? [noise, 0, noise] : [(noise * step ** 4) / 4, (noise * step ** 3) / 2, noise * step ** 2];
    this.variance = {
      place: place + 2 * step * both + step ** 2 * velocity + added[0],
      both: both + step * velocity + added[1],
      velocity: velocity + added[2],
    };
    if (this.unseen > 0) this.updates = 0;
    this.unseen += 1;
    this.missed += seconds;
  }

  /** @param {number[]} box */
  update(box) {
    const { place, both, velocity } = this.variance;
    const gain = [place / (place + 0.1), both / (place + 0.1)];
    box.forEach((seen, side) => {
      const surprise = seen - this.box[side];
      this.box[side] += gain[0] * surprise;
      this.velocity[side] += gain[1] * surprise;
    });
    this.variance = { place: (1 - gain[0]) * place, both: (1 - gain[0]) * both, velocity: velocity - gain[1] * both };
    this.unseen = 0;
    this.missed = 0;
    this.updates += 1;
  }
}

/** Ids that stay with each face from frame to frame, by ByteTrack (https://arxiv.org/abs/2110.06864). */
export class FaceTracker {
  /** @type {Track[]} */
  #tracks = [];
  /** @type {number | null} */
  #seconds = null;
  #last = 0; // id

  /**
   * Track the faces of the next frame.
   * @param {number[][]} boxes
   * @param {number} seconds the frame's time, later than that of the frame before
   * @returns {number[]} an id for each, counted from 1
   */
  update(boxes, seconds) {
    let ids = this.#step(boxes, seconds);
    // ByteTrack gives a face its id only when it sees it again, so a new face is passed to it twice.
    if (ids.includes(0)) ids = this.#step(boxes, seconds + INSTANT);
    return ids;
  }

  /** Forget all faces; ids start at 1 again. */
  reset() {
    this.#tracks = [];
    this.#seconds = null;
    this.#last = 0;
  }

  /**
   * @param {number[][]} boxes
   * @param {number} seconds
   */
  #step(boxes, seconds) {
    const elapsed = this.#seconds === null ? 1 / FRAME_RATE : seconds - this.#seconds;
    this.#seconds = seconds;
    for (const track of this.#tracks) track.predict(elapsed);
    this.#tracks = this.#tracks.filter((track) => track.missed <= LOST_SECONDS);
    const ids = boxes.map(() => 0);
    const similarity = this.#tracks.map((track) => boxes.map((box) => distanceIoU(track.box, box)));
    const free = new Set(boxes.keys());
    for (const [row, column] of assign(similarity)) {
      if (similarity[row][column] < MIN_SIMILARITY) continue;
      const track = this.#tracks[row];
      track.update(boxes[column]);
      track.id ||= ++this.#last;
      ids[column] = track.id;
      free.delete(column);
    }
    for (const column of free) this.#tracks.push(new Track(boxes[column]));
    this.#tracks = this.#tracks.filter((track) => track.id || track.updates >= 1 || track.unseen === 0);
    return ids;
  }
}

/**
 * Compute the DIoU of two boxes: intersection over union, less the distance of the centers in diagonals of the box
 * around both, squared (https://arxiv.org/abs/1911.08287).
 * @param {number[]} a
 * @param {number[]} b
 */
function distanceIoU(a, b) {
  const area = (/** @type {number[]} */ [l, t, r, d]) => Math.max(r - l, 0) * Math.max(d - t, 0);
  const shared = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  const union = area(a) + area(b) - shared;
  const width = Math.max(a[2], b[2]) - Math.min(a[0], b[0]);
  const height = Math.max(a[3], b[3]) - Math.min(a[1], b[1]);
  const [dx, dy] = [(a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2];
  return (union > 0 ? shared / union : 0) - (dx ** 2 + dy ** 2) / (width ** 2 + height ** 2 + 1e-7);
}

/** The apparent expressions of all faces of one viewer over time. */
export class ExpressionSession {
  #tracker = new FaceTracker();
  /** @type {Map<number, {seconds: number, scores: number[], label: number}>} */
  #states = new Map();

  /** @param {string[]} labels in the model's order */
  constructor(labels) {
    this.labels = labels;
  }

  /**
   * Add the result of the next frame.
   * @param {ScoredFace[]} faces
   * @param {number} seconds the frame's time, later than that of the frame before
   * @param {number} smoothing seconds after which a changed expression is shown to 63 %; 0 shows every frame as it is
   * @returns {TrackedFace[]} in the same order
   */
  update(faces, seconds, smoothing) {
    const ids = this.#tracker.update(faces.map(({ box }) => box), seconds);
    for (const [id, state] of this.#states) if (seconds - state.seconds > LOST_SECONDS) this.#states.delete(id);
    return faces.map(({ box, confidence, scores }, i) => {
      const state = this.#follow(ids[i], scores, seconds, smoothing);
      return {
        face: ids[i],
        box: box.map((place) => rounded(place, 1)),
        confidence: rounded(confidence, 4),
        label: this.labels[state.label],
        probabilities: this.#named(state.scores),
        raw: this.#named(scores),
      };
    });
  }

  /** Forget all faces. */
  reset() {
    this.#tracker.reset();
    this.#states.clear();
  }

  /**
   * @param {number} face
   * @param {number[]} raw
   * @param {number} seconds
   * @param {number} smoothing
   */
  #follow(face, raw, seconds, smoothing) {
    const last = this.#states.get(face);
    let [scores, label] = [raw, largest(raw)];
    if (last && smoothing > 0) {
      // Exponential in seconds: the same answer whatever the frame rate.
      const weight = -Math.expm1(-(seconds - last.seconds) / smoothing);
      scores = raw.map((score, i) => last.scores[i] + weight * (score - last.scores[i]));
      label = largest(scores);
      if (scores[label] - scores[last.label] <= HYSTERESIS) label = last.label;
    }
    const state = { seconds, scores, label };
    this.#states.set(face, state);
    return state;
  }

  /** @param {number[]} scores */
  #named(scores) {
    return Object.fromEntries(this.labels.map((label, i) => [label, rounded(scores[i], 5)]));
  }
}

/** @param {number[]} values */
function largest(values) {
  return values.indexOf(Math.max(...values));
}

/**
 * @param {number} value
 * @param {number} digits after the point
 */
function rounded(value, digits) {
  return Number(value.toFixed(digits));
}
