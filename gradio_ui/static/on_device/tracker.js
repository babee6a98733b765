// Faces over time: stable ids, probabilities smoothed over elapsed seconds, labels without flicker.
// The rules and their reasons are those of gradio_ui/recognition/tracker.py, and so are the ids.

import { assign } from "./assignment.js";
import { readingOrder, verdict } from "./doubt.js";

/** @typedef {import("./types.js").TrackedFace} TrackedFace */
/** @typedef {{box: number[], confidence: number, scores?: number[]}} ScoredFace scores: a probability for each label,
 *   or none where the face was not scored in this frame and keeps those it had */
/** @typedef {{seconds: number, raw: number[], smooth: number[], label: number}} State of a face when last scored */

const LOST_SECONDS = 2; // a face that observed frames lack for longer comes back as a new one
const LONGEST_STEP = 1; // seconds; a longer time between two frames is a gap, in which nothing was observed
const LARGEST_CHANGE = 2; // ratio of the sides of one face's boxes in two frames; beyond it they are two faces
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

/**
 * Ids that stay with each face from frame to frame, by ByteTrack (https://arxiv.org/abs/2110.06864).
 *
 * Time counts as far as frames observe it: a longer step than `LONGEST_STEP` between two frames is a gap and counts as
 * that. After a gap nothing is known of the motion, so a face is matched by the place and the size that it had before.
 */
export class FaceTracker {
  /** @type {Track[]} */
  #tracks = [];
  #seconds = -Infinity; // of the last frame
  #observed = 0; // seconds, of all steps
  /** @type {number | null} */
  #last = null; // observed seconds of the last step
  #ids = 0; // given so far

  /**
   * Track the faces of the next frame.
   * @param {number[][]} boxes
   * @param {number} seconds the frame's time, later than that of the frame before
   * @returns {number[]} an id for each, counted from 1; new faces of one frame get theirs in reading order
   */
  update(boxes, seconds) {
    if (seconds - this.#seconds > LONGEST_STEP) for (const track of this.#tracks) track.velocity.fill(0);
    this.#observed += Math.min(seconds - this.#seconds, LONGEST_STEP);
    this.#seconds = seconds;
    const order = readingOrder(boxes);
    const sorted = order.map((place) => boxes[place]);
    let ids = this.#step(sorted, this.#observed);
    // ByteTrack gives a face its id only when it sees it again, so a new face is passed to it twice.
    if (ids.includes(0)) ids = this.#step(sorted, this.#observed + INSTANT);
    return boxes.map((_, place) => ids[order.indexOf(place)]);
  }

  /** Forget all faces; ids start at 1 again. */
  reset() {
    this.#tracks = [];
    this.#seconds = -Infinity;
    this.#observed = 0;
    this.#last = null;
    this.#ids = 0;
  }

  /**
   * @param {number[][]} boxes
   * @param {number} observed seconds
   * @returns {number[]} an id for each, 0 for a face that is new
   */
  #step(boxes, observed) {
    const elapsed = this.#last === null ? 1 / FRAME_RATE : observed - this.#last;
    this.#last = observed;
    for (const track of this.#tracks) track.predict(elapsed);
    this.#tracks = this.#tracks.filter((track) => track.missed <= LOST_SECONDS);
    const ids = boxes.map(() => 0);
    const similarity = this.#tracks.map((track) => boxes.map((box) => similarityOf(track.box, box)));
    const free = new Set(boxes.keys());
    for (const [row, column] of assign(similarity)) {
      if (similarity[row][column] < MIN_SIMILARITY) continue;
      const track = this.#tracks[row];
      track.update(boxes[column]);
      track.id ||= ++this.#ids;
      ids[column] = track.id;
      free.delete(column);
    }
    for (const column of free) this.#tracks.push(new Track(boxes[column]));
    this.#tracks = this.#tracks.filter((track) => track.id || track.updates >= 1 || track.unseen === 0);
    return ids;
  }
}

/**
 * Compute the similarity of two boxes: their DIoU, -1 where the sizes differ. It is the intersection over union, less
 * the distance of the centers in diagonals of the box around both, squared (https://arxiv.org/abs/1911.08287).
 * @param {number[]} a
 * @param {number[]} b
 */
function similarityOf(a, b) {
  const side = (/** @type {number[]} */ [l, t, r, d]) => Math.sqrt(Math.max(r - l, 1) * Math.max(d - t, 1));
  if (Math.abs(Math.log(side(a) / side(b))) > Math.log(LARGEST_CHANGE)) return -1;
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
  /** @type {Map<number, State>} */
  #states = new Map();

  /** @param {string[]} labels in the model's order */
  constructor(labels) {
    this.labels = labels;
  }

  /**
   * Begin the next frame.
   * @param {number[][]} boxes of its faces
   * @param {number} seconds the frame's time, later than that of the frame before
   * @returns {number[]} an id for each, counted from 1
   */
  identify(boxes, seconds) {
    for (const [id, state] of this.#states) if (seconds - state.seconds > LOST_SECONDS) this.#states.delete(id);
    return this.#tracker.update(boxes, seconds);
  }

  /**
   * Choose the faces to score in this frame: the new ones, and of the others those scored longest ago.
   * @param {number[]} ids of `identify`
   * @param {number} most how many, if no more than that are new
   * @returns {number[]} their places in the list, in order
   */
  choose(ids, most) {
    const scored = ids.map((id) => this.#states.get(id)?.seconds ?? -Infinity);
    const places = [...ids.keys()].sort((a, b) => scored[a] - scored[b]);
    return places.filter((place, rank) => rank < most || scored[place] === -Infinity).sort((a, b) => a - b);
  }

  /**
   * End the frame.
   * @param {ScoredFace[]} faces
   * @param {number[]} ids of `identify`
   * @param {number} seconds the frame's time
   * @param {{smoothing: number, threshold: number}} options smoothing: seconds after which a changed expression is
   *   shown to 63 %; 0 shows every frame as it is. threshold: probability below which a label is unclear
   * @returns {TrackedFace[]} in the same order
   */
  follow(faces, ids, seconds, { smoothing, threshold }) {
    return faces.map(({ box, confidence, scores }, i) => {
      if (scores) this.#states.set(ids[i], this.#next(this.#states.get(ids[i]), scores, seconds, smoothing));
      const state = /** @type {State} */ (this.#states.get(ids[i]));
      return {
        face: ids[i],
        box: box.map((place) => rounded(place, 1)),
        confidence: rounded(confidence, 4),
        label: this.labels[state.label],
        ...verdict(state.label, state.smooth, this.labels, threshold),
        probabilities: this.#named(state.smooth),
        raw: this.#named(state.raw),
      };
    });
  }

  /** Forget all faces. */
  reset() {
    this.#tracker.reset();
    this.#states.clear();
  }

  /**
   * @param {State | undefined} last
   * @param {number[]} raw
   * @param {number} seconds
   * @param {number} smoothing
   * @returns {State}
   */
  #next(last, raw, seconds, smoothing) {
    if (!last || smoothing === 0) return { seconds, raw, smooth: raw, label: largest(raw) };
    // Exponential in seconds: the same answer whatever the frame rate.
    const weight = -Math.expm1(-(seconds - last.seconds) / smoothing);
    const smooth = raw.map((score, i) => last.smooth[i] + weight * (score - last.smooth[i]));
    const best = largest(smooth);
    const leads = smooth[best] - smooth[last.label] > HYSTERESIS;
    return { seconds, raw, smooth, label: leads ? best : last.label };
  }

  /** @param {number[]} scores */
  #named(scores) {
    return Object.fromEntries(this.labels.map((label, i) => [label, rounded(scores[i], 4)]));
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
