// The view of the last result on the webcam tab, of which a page has one.

const LARGER = 1.3; // times the area of the face whose bars are shown, before another one's are
const NONE = { list: [], width: 1, height: 1 };
let root, video, overlay, mirror, colorsOf;
let faces = NONE;
let followed = null; // id of the face whose bars are shown

const find = (selector) => root.querySelector(selector);

/**
 * Show results in this element from now on.
 * @param {HTMLElement} element holds webcam.html
 * @param {(label: string) => [string, string]} colors of the bar and of the text on it
 */
export function showIn(element, colors) {
  root = element;
  colorsOf = colors;
  [video, overlay, mirror] = [find("video"), find(".fer-stage canvas"), find("[type=checkbox]")];
  clear();
}

/** Show no result, as before the first one. */
export function clear() {
  [faces, followed] = [NONE, null];
  draw();
  find(".fer-bars").replaceChildren();
  find(".fer-title").textContent = "Apparent expression";
  find("[data-read=hint]").textContent = "Start the camera to see the bars move.";
  for (const cell of root.querySelectorAll("dd")) cell.textContent = "–";
}

/** @param {{list: object[], width: number, height: number}} found faces, with boxes in pixels of a frame of this size */
export function show(found) {
  faces = found;
  draw();
}

// Boxes and text over the video in its own pixels. Only x is mirrored, so text always reads the right way round.
function paint(context, width, height) {
  const [sx, sy] = [width / faces.width, height / faces.height];
  const line = Math.max(2, width / 250);
  context.font = `600 ${Math.max(14, width / 30)}px system-ui, sans-serif`;
  context.textBaseline = "top";
  for (const face of faces.list) {
    const [fill, ink] = colorsOf(face.label);
    let [left, top, right, bottom] = face.box;
    if (mirror.checked) [left, right] = [faces.width - right, faces.width - left];
    const [x, y, w, h] = [left * sx, top * sy, (right - left) * sx, (bottom - top) * sy];
    context.lineWidth = 2.5 * line;
    context.strokeStyle = "rgba(0, 0, 0, 0.7)";
    context.strokeRect(x, y, w, h);
    context.lineWidth = line;
    context.strokeStyle = fill;
    context.strokeRect(x, y, w, h);
    const text = `${face.face} ${face.label} ${Math.round(face.probabilities[face.label] * 100)}%`;
    const box = context.measureText(text).width + 6 * line;
    const tall = Math.max(14, width / 30) + 4 * line;
    const tx = Math.min(Math.max(0, x), Math.max(0, width - box));
    const ty = y >= tall ? y - tall : Math.min(y + h, height - tall);
    context.fillStyle = fill;
    context.fillRect(tx, ty, box, tall);
    context.fillStyle = ink;
    context.fillText(text, tx + 3 * line, ty + 2.5 * line);
  }
}

/** Draw the last result over the video, as after a change of the video's size or of the mirror. */
export function draw() {
  const [width, height] = [video.videoWidth || 640, video.videoHeight || 480];
  if (overlay.width !== width || overlay.height !== height) Object.assign(overlay, { width, height });
  const context = overlay.getContext("2d");
  context.clearRect(0, 0, width, height);
  paint(context, width, height);
}

/**
 * Draw the camera's image and the last result as they are shown.
 * @param {CanvasRenderingContext2D} context of a canvas in which the image has (width, height) pixels
 */
export function compose(context, width, height) {
  context.save();
  if (mirror.checked) {
    context.translate(width, 0);
    context.scale(-1, 1);
  }
  context.drawImage(video, 0, 0, width, height);
  context.restore();
  paint(context, width, height);
}

/**
 * Draw boxes and text of an image's faces.
 * @param {CanvasRenderingContext2D} context of a canvas with (width, height) pixels
 * @param {{list: object[], width: number, height: number}} found faces, with boxes in pixels of an image of this size
 * @param {(label: string) => [string, string]} colors of a label's box and of its text
 */
export function paintStill(context, width, height, found, colors) {
  const live = [faces, mirror, colorsOf];
  [faces, mirror, colorsOf] = [found, { checked: false }, colors];
  paint(context, width, height);
  [faces, mirror, colorsOf] = live;
}

// Bars of the largest face, in the model's own order so that they do not jump. They stay with a face in view until
// another is clearly larger, so that they do not jump between two of about the same size.
export function showBars(labels) {
  const chart = find(".fer-bars");
  const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  const sorted = faces.list.toSorted((a, b) => area(b) - area(a));
  const last = sorted.find(({ face }) => face === followed);
  const face = last && area(sorted[0]) < LARGER * area(last) ? last : sorted[0];
  followed = face?.face;
  find(".fer-title").textContent = faces.list.length > 1 ? `Apparent expression of face ${followed}` : "Apparent expression";
  find("[data-read=hint]").textContent = face ? "" : "No face in view. Come closer, or turn on a light.";
  if (chart.children.length !== labels.length) {
    chart.replaceChildren(
      ...labels.map((label) => {
        const row = document.createElement("li");
        row.innerHTML =
          '<span class="fer-name"></span><span class="fer-track" aria-hidden="true"><i></i></span><span class="fer-value"></span>';
        row.firstChild.textContent = label;
        row.querySelector("i").style.background = colorsOf(label)[0];
        return row;
      }),
    );
  }
  labels.forEach((label, i) => {
    const percent = 100 * (face?.probabilities[label] ?? 0);
    chart.children[i].querySelector("i").style.transform = `translateX(${percent - 100}%)`;
    chart.children[i].querySelector(".fer-value").textContent = face ? `${Math.round(percent)}%` : "–";
  });
}

/**
 * @param {number[]} times of the last results, in milliseconds
 * @param {number} delay from frame to overlay, in milliseconds
 * @param {number} work time that the recognition took, in milliseconds
 */
export function showSpeed(times, delay, work) {
  const span = (times.at(-1) - times[0]) / 1000;
  find("[data-read=rate]").textContent = span ? ((times.length - 1) / span).toFixed(1) : "–";
  find("[data-read=delay]").textContent = `${Math.round(delay)} ms`;
  find("[data-read=work]").textContent = `${Math.round(work)} ms`;
}
