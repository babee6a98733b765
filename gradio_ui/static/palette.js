// The colors of labels; the rule is that of recognition/palette.py.

/** @typedef {[string, string]} Colors of a label's bar, and of the text on it, as "#rrggbb" */

export class Palette {
  #known;
  #other;
  #chosen = {};
  #labels = "";

  /**
   * @param {Record<string, Colors>} known
   * @param {Colors} other of a label that is not known, where no color is left
   */
  constructor(known, other) {
    [this.#known, this.#other] = [known, other];
  }

  /** Take the labels of the model in use, in its order: one that is not known gets a color that no other needs. */
  set labels(labels) {
    if (labels.join() === this.#labels) return;
    this.#labels = labels.join();
    const spare = Object.keys(this.#known).filter((label) => !labels.includes(label));
    const unknown = labels.filter((label) => !(label in this.#known));
    this.#chosen = Object.fromEntries(unknown.map((label, i) => [label, this.#known[spare[i]]]));
  }

  /** @returns {Colors} */
  of = (label) => this.#known[label] ?? this.#chosen[label] ?? this.#other;
}
