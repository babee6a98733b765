// The view of the last result on the webcam tab, of which a page has one.

import { FaceBlur } from "./blur.js";
import { labelName, shownName, t } from "./i18n.js";
import { labelTexts, lineWidth, placeLabels, topTwo } from "./labels.js";

const LARGER = 1.3; // times the area of the face whose bars are shown, before another one's are
const OLD_MS = 1000; // a result that is older fades, as the faces have moved on, and a banner says why
const SAY_MS = 3000; // between two expressions that a screen reader is told
const NONE = { list: [], width: 1, height: 1 };
let root, video, overlay, mirror, blur, colorsOf;
const faceBlur = new FaceBlur();
let faces = NONE;
let followed = null; // id of the face whose bars are shown
let chosen = null; // id of the face that was clicked on; its bars are shown while it is in view
let said = -Infinity; // when a screen reader was last told
let drawn = []; // the boxes of the last drawing, in pixels of the overlay

const find = (selector) => root.querySelector(selector);

/**
 * Show results in this element from now on.
 * @param {HTMLElement} element holds webcam.html
 * @param {(label: string) => [string, string]} colors of the bar and of the text on it
 */
export function showIn(element, colors) {
  root = element;
  colorsOf = colors;
  [video, overlay] = [find("video"), find(".fer-stage canvas")];
  [mirror, blur] = [find("[data-pick=mirror]"), find("[data-pick=blur]")];
  overlay.addEventListener("click", chooseAt);
  find(".fer-lanes").addEventListener("click", ({ target }) => {
    const lane = target.closest("[data-face]");
    if (lane) choose(Number(lane.dataset.face));
  });
  clear();
}

/** Show no result, as before the first one. */
export function clear() {
  faces = NONE;
  draw();
  find(".fer-bars").replaceChildren();
  find(".fer-title").textContent = t("face.title");
  find("[data-read=hint]").textContent = t("cam.hint");
  find("[data-read=spoken]").textContent = "";
  for (const cell of root.querySelectorAll("dd")) cell.textContent = "–";
}

/** Follow the largest face again, whichever was chosen. */
export function follow() {
  followed = chosen = null;
}

/** @param {{list: object[], width: number, height: number}} found faces, with boxes in pixels of a frame of this size */
export function show(found) {
  faces = found;
  draw();
}

// Boxes and labels over the video in its own pixels. Only x is mirrored, so text always reads the right way round.
function paint(context, width, height) {
  drawn = placed(width, height);
  drawn.forEach((box, i) => paintBox(context, box, lineWidth([width, height], box), faces.list[i]));
  const texts = faces.list.map(textsOf);
  context.font = fontOf(100);
  const widths = texts.map((each) => each.map((text) => context.measureText(text).width / 100));
  placeLabels([width, height], drawn, widths).forEach((label, i) => {
    if (label) paintLabel(context, label, texts[i][label.text], faces.list[i]);
  });
}

// The boxes of the faces as they are seen in (width, height) pixels.
function placed(width, height) {
  const [sx, sy] = [width / faces.width, height / faces.height];
  return faces.list.map(({ box: [left, top, right, bottom] }) => {
    if (mirror.checked) [left, right] = [faces.width - right, faces.width - left];
    return [left * sx, top * sy, right * sx, bottom * sy];
  });
}

const textsOf = (face) =>
  labelTexts(
    face.face, labelName(face.label), face.probabilities[face.label],
    { unclear: face.unclear, shown: shownName(face) }, t("face.unclear"),
  );
const fontOf = (size) => `600 ${size}px system-ui, sans-serif`;
const inkOf = ({ label, unclear }) => (unclear ? ["#ffffff", "#000000"] : colorsOf(label));

// The box of the face whose bars are shown, among several, has a light rim.
function paintBox(context, [left, top, right, bottom], line, face) {
  const rim = faces.list.length > 1 && face.face === followed;
  for (const [color, width] of [...(rim ? [["#ffffff", 5 * line]] : []), ["#000000", (rim ? 3 : 2) * line]])
    stroke(color, width);
  if (face.unclear) context.setLineDash([6 * line, 6 * line]);
  stroke(inkOf(face)[0], line);
  context.setLineDash([]);

  function stroke(color, width) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.strokeRect(left, top, right - left, bottom - top);
  }
}

function paintLabel(context, { font, box: [left, top, right, bottom] }, text, face) {
  const [fill, ink] = inkOf(face);
  context.fillStyle = fill;
  context.fillRect(left, top, right - left, bottom - top);
  context.font = fontOf(font);
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = ink;
  context.fillText(text, (left + right) / 2, (top + bottom) / 2);
}

// Where a click meets the overlay, which is fitted into its element; of several faces there, the smallest.
function chooseAt({ clientX, clientY }) {
  const around = overlay.getBoundingClientRect();
  const scale = Math.min(around.width / overlay.width, around.height / overlay.height);
  const x = (clientX - around.left - (around.width - overlay.width * scale) / 2) / scale;
  const y = (clientY - around.top - (around.height - overlay.height * scale) / 2) / scale;
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  const hit = [...drawn.keys()].filter((i) => x >= drawn[i][0] && x <= drawn[i][2] && y >= drawn[i][1] && y <= drawn[i][3]);
  if (hit.length) choose(faces.list[hit.reduce((a, b) => (area(drawn[b]) < area(drawn[a]) ? b : a))].face);
}

function choose(face) {
  chosen = followed = face;
  if (faces.list.length) showBars(Object.keys(faces.list[0].probabilities));
  draw();
}

/**
 * Watch the age of the last result.
 * @param {() => {drawn: number, resumed?: number} | null} current the session: drawn is the time of its last result
 */
export function watchAge(current) {
  const banner = Object.assign(document.createElement("p"), { className: "fer-banner", role: "status", hidden: true });
  const [shownIn, over] = [root, overlay];
  over.parentElement.append(banner);
  const aging = setInterval(() => {
    if (!shownIn.isConnected) return clearInterval(aging);
    const session = current();
    const live = session && shownIn.dataset.state === "live" && !video.paused && !document.hidden;
    if (session && !live) session.resumed = performance.now(); // a pause ages nothing
    const old = live && performance.now() - Math.max(session.drawn, session.resumed ?? 0) > OLD_MS;
    over.classList.toggle("fer-old", Boolean(old && session.drawn > 0));
    const whose = session?.source?.name === "server" ? "cam.no_answer" : "cam.busy";
    banner.textContent = !old ? "" : t(session.drawn ? whose : "cam.first");
    banner.hidden = !old;
  }, OLD_MS / 4);
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
  if (blur.checked) faceBlur.apply(context, faces.list.map(({ face }, i) => ({ face, box: placed(width, height)[i] })));
  const kept = drawn; // of the overlay, for clicks
  paint(context, width, height);
  drawn = kept;
}

/**
 * Draw boxes and text of an image's faces.
 * @param {CanvasRenderingContext2D} context of a canvas with (width, height) pixels
 * @param {{list: object[], width: number, height: number}} found faces, with boxes in pixels of an image of this size
 * @param {(label: string) => [string, string]} colors of a label's box and of its text
 */
export function paintStill(context, width, height, found, colors) {
  const live = [faces, mirror, colorsOf, followed, drawn];
  [faces, mirror, colorsOf, followed] = [found, { checked: false }, colors, null];
  paint(context, width, height);
  [faces, mirror, colorsOf, followed, drawn] = live;
}

// Bars of the largest face, in the model's own order so that they do not jump. They stay with a face in view until
// another is clearly larger, so that they do not jump between two of about the same size.
export function showBars(labels) {
  const chart = find(".fer-bars");
  const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  const sorted = faces.list.toSorted((a, b) => area(b) - area(a));
  const last = sorted.find(({ face }) => face === followed);
  const mine = sorted.find(({ face }) => face === chosen);
  const face = mine ?? (last && area(sorted[0]) < LARGER * area(last) ? last : sorted[0]);
  followed = face?.face;
  find(".fer-title").textContent = faces.list.length > 1 ? t("face.title_of", { number: followed }) : t("face.title");
  const two = face ? topTwo(face.probabilities) : [];
  const marked = face?.unclear ? two : [face?.label];
  find("[data-read=hint]").textContent = !face
    ? t("cam.no_face")
    : face.unclear
      ? t("cam.unclear", { shown: shownName(face) })
      : face.label === two[0]
        ? ""
        : t("cam.held", { label: labelName(face.label) });
  const expression = face?.unclear ? t("face.unclear_as", { shown: shownName(face) }) : labelName(face?.label);
  say(face ? `${find(".fer-title").textContent}: ${expression}` : find("[data-read=hint]").textContent);
  if (chart.children.length !== labels.length) {
    chart.replaceChildren(
      ...labels.map((label) => {
        const row = document.createElement("li");
        row.innerHTML =
          '<span class="fer-name"></span><span class="fer-track" aria-hidden="true"><i></i></span><span class="fer-value"></span>';
        row.firstChild.textContent = labelName(label);
        row.querySelector("i").style.background = colorsOf(label)[0];
        return row;
      }),
    );
  }
  labels.forEach((label, i) => {
    chart.children[i].classList.toggle("fer-held", marked.includes(label));
    const percent = 100 * (face?.probabilities[label] ?? 0);
    chart.children[i].querySelector("i").style.transform = `translateX(${percent - 100}%)`;
    chart.children[i].querySelector(".fer-value").textContent = face ? `${Math.round(percent)}%` : "–";
  });
}

// Tells a screen reader the expression when it has changed, but not at every change.
function say(text) {
  const spoken = find("[data-read=spoken]"), now = performance.now();
  if (spoken.textContent === text || now - said < SAY_MS) return;
  said = now;
  spoken.textContent = text;
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
