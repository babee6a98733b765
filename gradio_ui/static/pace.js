// When a live frame is sent.

const IN_FLIGHT = 2; // frames: one is on its way, or waits, while the recognizer works on the other
const LONGEST_WAIT = 10; // ms that a frame may wait for the one before, a third of a camera's step

/**
 * The pace of a recognizer: a frame is sent shortly before the one before should be done, whose answer may still be on
 * its way. So neither the network nor the camera's rate costs results, and no frame waits for long.
 */
export class Pace {
  #flying = 0;
  #free = 0; // when the recognizer should be done with all that was sent
  #works = [Infinity]; // ms that it took for each of the last two frames

  /** @param {number} now in ms; tells whether a frame may be sent */
  ready(now) {
    return !this.#flying || (this.#flying < IN_FLIGHT && this.#free - now <= LONGEST_WAIT);
  }

  /** @param {number} now in ms */
  sent(now) {
    // The shorter of the two, since now and then a frame takes longer: all of it is searched.
    this.#free = (this.#flying ? Math.max(this.#free, now) : now) + Math.min(...this.#works);
    this.#flying += 1;
  }

  /** @param {number} [work] ms that the recognizer took for the frame, where it gave a result */
  answered(work) {
    this.#flying -= 1;
    if (work !== undefined) this.#works = [...this.#works, work].slice(-2);
  }
}
