// What to say where no label is probable enough, and the order of faces. The rules are those of Python's
// recognition/doubt.py and recognition/types.py.

export const UNCLEAR_BELOW = 0.4; // probability of the reported label; with seven labels chance is 0.14

/**
 * Say whether a label is probable enough, and what to show for it.
 * @param {number} label the place of the one to report
 * @param {number[]} scores a probability for each label
 * @param {string[]} labels
 * @param {number} threshold below it, the label is unclear
 * @returns {{unclear: boolean, shown: string}} shown: the label itself, or "happy or fear" where it is unclear
 */
export function verdict(label, scores, labels, threshold) {
  if (scores[label] >= threshold) return { unclear: false, shown: labels[label] };
  const places = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, 2);
  return { unclear: true, shown: places.map((place) => labels[place]).join(" or ") };
}

/**
 * Order faces as one reads: row by row from the top, each from left to right. A row is the highest face that is left,
 * by its center, and all whose centers lie above its lower edge.
 * @param {number[][]} boxes
 * @returns {number[]} their places in that order
 */
export function readingOrder(boxes) {
  const x = boxes.map(([left, , right]) => left + right);
  const y = boxes.map(([, top, , bottom]) => (top + bottom) / 2);
  let waiting = [...boxes.keys()].sort((a, b) => y[a] - y[b]);
  const order = [];
  while (waiting.length) {
    const first = waiting[0];
    const row = waiting.filter((place) => place === first || y[place] < boxes[first][3]);
    order.push(...row.sort((a, b) => x[a] - x[b]));
    waiting = waiting.filter((place) => !row.includes(place));
  }
  return order;
}
