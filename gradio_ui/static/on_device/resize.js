// Resampling as OpenCV and Pillow do it, so that both engines see the same pixels. A canvas' own differs from browser
// to browser. Images are RGBA; the alpha of results is 255.

/** @typedef {import("./types.js").Pixels} Pixels */
/** @typedef {{from: Int32Array, starts: Int32Array, weights: Float32Array}} Spans for each output its first input, and
 *   where its weights start; the last start is their end */

const MOST_SPANS = 32; // kept of `shrinkByArea`

/**
 * Round to the nearest whole number, halves to the even one, as Python and OpenCV do.
 * @param {number} value
 */
export function roundEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Shrink an image by the mean over each output pixel's area: OpenCV's INTER_AREA.
 * @param {Pixels} image
 * @param {number} width of the result in pixels
 * @param {number} height of the result in pixels
 * @param {number} [scale] input pixels to an output pixel, at least 1; by default what follows from the sizes
 * @returns {Pixels}
 */
export function shrinkByArea(image, width, height, scale) {
  const [scaleX, scaleY] = [scale ?? image.width / width, scale ?? image.height / height];
  const columns = areaSpans(image.width, width, scaleX);
  const rows = areaSpans(image.height, height, scaleY);
  const halvesUp = scaleX === 2 && scaleY === 2 ? 1e-3 : 0; // OpenCV has a function of its own for half the size
  const out = new Uint8ClampedArray(4 * width * height).fill(255);
  const sums = new Float32Array(3 * width);
  const line = new Float32Array(3 * width);
  let done = -1; // the row of the image that `line` holds
  for (let y = 0; y < height; y++) {
    sums.fill(halvesUp);
    for (let i = rows.starts[y], row = rows.from[y]; i < rows.starts[y + 1]; i++, row++) {
      if (done !== row) shrinkRow(image, (done = row), columns, line);
      const weight = rows.weights[i];
      for (let x = 0; x < sums.length; x++) sums[x] += weight * line[x];
    }
    for (let x = 0, at = 4 * width * y; x < sums.length; x += 3, at += 4) {
      out[at] = sums[x]; // rounds halves to even
      out[at + 1] = sums[x + 1];
      out[at + 2] = sums[x + 2];
    }
  }
  return { data: out, width, height };
}

/**
 * @param {Pixels} image
 * @param {number} y
 * @param {Spans} columns
 * @param {Float32Array} line receives the means of a row, RGB
 */
function shrinkRow({ data, width }, y, { from, starts, weights }, line) {
  for (let x = 0, to = 0; x < from.length; x++, to += 3) {
    let [red, green, blue] = [0, 0, 0];
    for (let i = starts[x], at = 4 * (width * y + from[x]); i < starts[x + 1]; i++, at += 4) {
      red += weights[i] * data[at];
      green += weights[i] * data[at + 1];
      blue += weights[i] * data[at + 2];
    }
    line[to] = red;
    line[to + 1] = green;
    line[to + 2] = blue;
  }
}

/** @type {Map<string, Spans>} those used last: each frame of a video needs the same */
const recentSpans = new Map();

/**
 * @param {number} input pixels
 * @param {number} output pixels
 * @param {number} scale
 * @returns {Spans}
 */
function areaSpans(input, output, scale) {
  const key = `${input} ${output} ${scale}`;
  const known = recentSpans.get(key);
  if (known) return known;
  const least = 1e-3; // a share of a pixel that OpenCV leaves out
  const from = new Int32Array(output);
  const starts = new Int32Array(output + 1);
  /** @type {number[]} */
  const weights = [];
  for (let i = 0; i < output; i++) {
    const start = i * scale;
    const end = start + scale;
    const cell = Math.min(scale, input - start);
    const last = Math.min(Math.floor(end), input - 1);
    const first = Math.min(Math.ceil(start), last);
    const before = first - start > least;
    from[i] = before ? first - 1 : first;
    if (before) weights.push((first - start) / cell);
    for (let whole = first; whole < last; whole++) weights.push(1 / cell);
    if (end - last > least) weights.push(Math.min(end - last, 1, cell) / cell);
    starts[i + 1] = weights.length;
  }
  if (recentSpans.size >= MOST_SPANS) recentSpans.clear();
  const spans = { from, starts, weights: Float32Array.from(weights) };
  recentSpans.set(key, spans);
  return spans;
}

/**
 * Enlarge an image: OpenCV's INTER_CUBIC, as its builds for x86 compute it, with weights that are not rounded.
 * @param {Pixels} image
 * @param {number} width of the result in pixels
 * @param {number} height of the result in pixels
 * @returns {Pixels}
 */
export function enlargeCubic(image, width, height) {
  const columns = cubicTaps(image.width, width);
  const rows = cubicTaps(image.height, height);
  const lines = new Float64Array(3 * width * image.height);
  for (let y = 0, to = 0; y < image.height; y++) {
    for (const { taps, weights } of columns) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let i = 0; i < 4; i++) sum += weights[i] * image.data[4 * (image.width * y + taps[i]) + channel];
        lines[to++] = sum;
      }
    }
  }
  const out = new Uint8ClampedArray(4 * width * height).fill(255);
  rows.forEach(({ taps, weights }, y) => {
    for (let x = 0; x < 3 * width; x++) {
      let sum = 0;
      for (let i = 0; i < 4; i++) sum += weights[i] * lines[3 * width * taps[i] + x];
      out[4 * (width * y + Math.floor(x / 3)) + (x % 3)] = sum;
    }
  });
  return { data: out, width, height };
}

/**
 * @param {number} input pixels
 * @param {number} output pixels
 */
function cubicTaps(input, output) {
  const a = -0.75;
  return Array.from({ length: output }, (_, i) => {
    const place = ((i + 0.5) * input) / output - 0.5;
    const first = Math.floor(place);
    const t = place - first;
    const near = (/** @type {number} */ d) => ((a + 2) * d - (a + 3)) * d * d + 1;
    const far = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    const weights = [far, near(t), near(1 - t)];
    weights.push(1 - weights[0] - weights[1] - weights[2]);
    return {
      taps: [-1, 0, 1, 2].map((step) => Math.min(Math.max(first + step, 0), input - 1)), // the edge is repeated
      weights,
    };
  });
}

/** @type {Record<number, {support: number, weight: (x: number) => number}>} Pillow's filters by their numbers */
const FILTERS = {
  1: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
  2: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  3: { support: 2, weight: (x) => cubic(Math.abs(x)) },
  4: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  5: { support: 1, weight: (x) => (Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0) },
};

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** @param {number} x at least 0 */
function cubic(x) {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/**
 * Resize an image as Pillow's `Image.resize` does, to the last bit.
 * @param {Pixels} image
 * @param {number} width of the result in pixels
 * @param {number} height of the result in pixels
 * @param {number} resample Pillow's number of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming
 * @returns {Pixels}
 */
export function resizeLikePillow(image, width, height, resample) {
  if (image.width === width && image.height === height) return image;
  if (resample === 0) return nearest(image, width, height);
  const across = width === image.width ? image : pass(image, width, image.height, resample, true);
  return height === image.height ? across : pass(across, width, height, resample, false);
}

/**
 * Resize along one axis.
 * @param {Pixels} image
 * @param {number} width
 * @param {number} height
 * @param {number} resample
 * @param {boolean} across whether along the rows
 * @returns {Pixels}
 */
function pass(image, width, height, resample, across) {
  const spans = pillowSpans(across ? image.width : image.height, across ? width : height, resample);
  const step = across ? 4 : 4 * image.width;
  const out = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 4) {
      const { from, weights } = spans[across ? x : y];
      const start = across ? 4 * (image.width * y + from) : 4 * (image.width * from + x);
      let red = 2 ** 21; // a half
      let [green, blue] = [red, red];
      for (let i = 0, at = start; i < weights.length; i++, at += step) {
        red += weights[i] * image.data[at];
        green += weights[i] * image.data[at + 1];
        blue += weights[i] * image.data[at + 2];
      }
      out[to] = red >> 22;
      out[to + 1] = green >> 22;
      out[to + 2] = blue >> 22;
    }
  }
  return { data: out, width, height };
}

/**
 * @param {number} input pixels
 * @param {number} output pixels
 * @param {number} resample
 * @returns {{from: number, weights: Int32Array}[]} the inputs of each output; weights as whole multiples of 2^-22
 */
function pillowSpans(input, output, resample) {
  const { support, weight } = FILTERS[resample];
  const scale = input / output;
  const blur = Math.max(scale, 1); // shrinking widens the filter
  return Array.from({ length: output }, (_, i) => {
    const center = (i + 0.5) * scale;
    const from = Math.max(Math.trunc(center - support * blur + 0.5), 0);
    const to = Math.min(Math.trunc(center + support * blur + 0.5), input);
    const weights = Array.from({ length: to - from }, (_, x) => weight((x + from - center + 0.5) * (1 / blur)));
    const sum = weights.reduce((total, one) => total + one, 0);
    return { from, weights: Int32Array.from(weights, (one) => (one / sum) * 2 ** 22 + (one < 0 ? -0.5 : 0.5)) };
  });
}

/**
 * @param {Pixels} image
 * @param {number} width
 * @param {number} height
 * @returns {Pixels}
 */
function nearest(image, width, height) {
  const rows = nearestPlaces(image.height, height);
  const columns = nearestPlaces(image.width, width);
  const out = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 4) {
      const from = 4 * (image.width * rows[y] + columns[x]);
      out.set(image.data.subarray(from, from + 3), to);
    }
  }
  return { data: out, width, height };
}

/**
 * @param {number} input pixels
 * @param {number} output pixels
 */
function nearestPlaces(input, output) {
  const step = input / output;
  let place = step / 2;
  return Array.from({ length: output }, () => {
    const found = Math.floor(place);
    place += step; // summed up as Pillow does, with its errors of rounding
    return found;
  });
}
