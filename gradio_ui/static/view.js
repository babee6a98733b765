// Part of the function body that webcam.js ends: the view of the last result.

let chosen = null; // id of the face that was clicked on; its bars are shown while it is in view
let drawn = []; // the boxes of the last drawing, in pixels of the overlay

// Boxes and labels over the video in its own pixels. Only x is mirrored, so text always reads the right way round.
function paint(context, width, height) {
  const [sx, sy] = [width / faces.width, height / faces.height];
  drawn = faces.list.map(({ box: [left, top, right, bottom] }) => {
    if (mirror.checked) [left, right] = [faces.width - right, faces.width - left];
    return [left * sx, top * sy, right * sx, bottom * sy];
  });
  drawn.forEach((box, i) => paintBox(context, box, lineWidth([width, height], box), faces.list[i]));
  const texts = faces.list.map((f) => labelTexts(f.face, f.label, f.probabilities[f.label], f));
  context.font = fontOf(100);
  const widths = texts.map((each) => each.map((text) => context.measureText(text).width / 100));
  placeLabels([width, height], drawn, widths).forEach((label, i) => {
    if (label) paintLabel(context, label, texts[i][label.text], faces.list[i]);
  });
}

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

element.querySelector(".fer-stage canvas").addEventListener("click", chooseAt);
element.querySelector(".fer-lanes").addEventListener("click", ({ target }) => {
  const lane = target.closest("[data-face]");
  if (lane) choose(Number(lane.dataset.face));
});

// A result that is older than this fades, as the faces have moved on, and a banner says why.
const OLD_MS = 1000;
const banner = document.createElement("p");
banner.className = "fer-banner";
banner.role = "status";
banner.hidden = true;
element.querySelector(".fer-stage").append(banner);
const aging = setInterval(() => {
  if (!element.isConnected) return clearInterval(aging);
  const live = session && root.dataset.state === "live" && !video.paused && !document.hidden;
  if (session && !live) session.resumed = performance.now(); // a pause ages nothing
  const old = live && performance.now() - Math.max(session.drawn, session.resumed ?? 0) > OLD_MS;
  overlay.classList.toggle("fer-old", old && session.drawn > 0);
  banner.textContent = !old ? "" : session.drawn ? "No answer from the server. The last result is old." : "Waiting for the first result…";
  banner.hidden = !old;
}, OLD_MS / 4);

function draw() {
  const [width, height] = [video.videoWidth || 640, video.videoHeight || 480];
  if (overlay.width !== width || overlay.height !== height) Object.assign(overlay, { width, height });
  const context = overlay.getContext("2d");
  context.clearRect(0, 0, width, height);
  paint(context, width, height);
}

// Bars of the largest face, in the model's own order so that they do not jump. They stay with a face in view until
// another is clearly larger, so that they do not jump between two of about the same size.
function showBars(labels) {
  const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  const sorted = faces.list.toSorted((a, b) => area(b) - area(a));
  const last = sorted.find(({ face }) => face === followed);
  const mine = sorted.find(({ face }) => face === chosen);
  const face = mine ?? (last && area(sorted[0]) < LARGER * area(last) ? last : sorted[0]);
  followed = face?.face;
  title.textContent = faces.list.length > 1 ? `Apparent expression of face ${followed}` : "Apparent expression";
  const two = face ? topTwo(face.probabilities) : [];
  const marked = face?.unclear ? two : [face?.label];
  hint.textContent = !face
    ? "No face in view. Come closer, or turn on a light."
    : face.unclear
      ? `Unclear: ${face.shown}.`
      : face.label === two[0]
        ? ""
        : `Shows ${face.label} until another expression leads clearly.`;
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
    chart.children[i].classList.toggle("fer-held", marked.includes(label));
    const percent = 100 * (face?.probabilities[label] ?? 0);
    chart.children[i].querySelector("i").style.transform = `translateX(${percent - 100}%)`;
    chart.children[i].querySelector(".fer-value").textContent = face ? `${Math.round(percent)}%` : "–";
  });
}

function showSpeed(times, delay, server_ms) {
  const span = (times.at(-1) - times[0]) / 1000;
  find("[data-read=rate]").textContent = span ? ((times.length - 1) / span).toFixed(1) : "–";
  find("[data-read=delay]").textContent = `${Math.round(delay)} ms`;
  find("[data-read=server]").textContent = `${Math.round(server_ms)} ms`;
}
