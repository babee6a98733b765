// The verdict on a face, and where the labels of faces stand. The rules
// are those of recognition/doubt.py, recognition/types.py and views/label_layout.py; see there for what they mean.

const FONTS = [8, 9, 10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 57, 68, 81, 96, 114, 136, 160];
const FONT_OF_FACE = 0.18;
const FONT_OF_IMAGE = [1 / 50, 1 / 24];
const BADGE_OF_IMAGE = 1 / 100;
const LINE_OF_FACE = 0.02;
const LINE_OF_IMAGE = [1 / 1000, 1 / 300];
const [TEXT_HEIGHT, TEXT_PADDING] = [1.4, 0.35];
const INSIDE = 0.5;

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

export const topTwo = (probabilities) =>
  Object.keys(probabilities).sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 2);

// { unclear, shown } of a label with the probabilities beside it.
export function verdict(label, probabilities, threshold) {
  const unclear = probabilities[label] < threshold;
  return { unclear, shown: unclear ? topTwo(probabilities).join(" or ") : label };
}

// The texts of a face, the longest first.
export function labelTexts(number, label, probability, { unclear, shown }, doubt = "unclear") {
  const texts = unclear ? [`${doubt}: ${shown}`, doubt] : [`${label} ${Math.round(100 * probability)}%`, label];
  return number === null ? texts : [...texts.map((text) => `${number} ${text}`), `${number}`];
}

// The indices of boxes, row by row from the top, each from left to right.
export function readingOrder(boxes) {
  const middle = (i, side) => (boxes[i][side] + boxes[i][side + 2]) / 2;
  let waiting = boxes.map((_, i) => i).sort((a, b) => middle(a, 1) - middle(b, 1));
  const order = [];
  while (waiting.length) {
    const [first] = waiting;
    const row = waiting.filter((i) => i === first || middle(i, 1) < boxes[first][3]);
    order.push(...row.toSorted((a, b) => middle(a, 0) - middle(b, 0)));
    waiting = waiting.filter((i) => !row.includes(i));
  }
  return order;
}

export function lineWidth(size, box) {
  const [least, most] = LINE_OF_IMAGE.map((share) => share * Math.max(...size));
  return Math.max(1, clamp(LINE_OF_FACE * (box[3] - box[1]), least, most));
}

// A label { text, font, box } for each face, or null where no text of it has a place.
export function placeLabels(size, boxes, widths) {
  const grown = boxes.map((box) => {
    const by = lineWidth(size, box);
    return [box[0] - by, box[1] - by, box[2] + by, box[3] + by];
  });
  const labels = boxes.map(() => null);
  const apart = (a, b) => a[0] >= b[2] || a[2] <= b[0] || a[1] >= b[3] || a[3] <= b[1];
  const free = (face, box) =>
    box[0] >= 0 && box[1] >= 0 && box[2] <= size[0] && box[3] <= size[1] &&
    grown.every((other, i) => i === face || (apart(box, other) && !(labels[i] && !apart(box, labels[i].box))));
  const put = (face, texts, badge) => {
    for (const text of texts)
      for (const font of labelFonts(size, grown[face], badge)) {
        const [width, height] = [(widths[face][text] + 2 * TEXT_PADDING) * font, TEXT_HEIGHT * font];
        for (const [x, y] of candidates(size, grown[face], width, height)) {
          const box = [x, y, x + width, y + height];
          if (free(face, box)) return (labels[face] = { text, font, box });
        }
      }
  };
  const area = (i) => (boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1]);
  const largestFirst = boxes.map((_, i) => i).sort((a, b) => area(b) - area(a));
  for (const face of largestFirst) put(face, [widths[face].length - 1], true);
  for (const face of largestFirst) put(face, [...widths[face].keys()].slice(0, -1), false);
  return labels;
}

function labelFonts(size, box, badge) {
  const [least, most] = FONT_OF_IMAGE.map((share) => share * Math.max(...size));
  const wanted = [clamp(FONT_OF_FACE * (box[3] - box[1]), least, most), least];
  if (badge) wanted.push(BADGE_OF_IMAGE * Math.max(...size));
  return wanted.map((most) => FONTS.findLast((font) => font <= most) ?? FONTS[0]);
}

// Above, below, right, left of and inside a face.
function* candidates(size, [left, top, right, bottom], width, height) {
  const columns = [left, right - width, (left + right - width) / 2].map((x) => Math.min(Math.max(x, 0), size[0] - width));
  const rows = [top, bottom - height].map((y) => Math.min(Math.max(y, 0), size[1] - height));
  for (const y of [top - height, bottom]) for (const x of columns) yield [x, y];
  for (const x of [right, left - width]) for (const y of rows) yield [x, y];
  const seen = [Math.max(left, 0), Math.max(top, 0), Math.min(right, size[0]), Math.min(bottom, size[1])];
  if (width > seen[2] - seen[0] || height > INSIDE * (seen[3] - seen[1])) return;
  for (const y of [seen[1], seen[3] - height]) for (const x of [seen[0], seen[2] - width]) yield [x, y];
}
