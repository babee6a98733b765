// Body of the function that gr.HTML runs when the webcam tab is shown, after timeline.js: (element, trigger, props,
// server, upload, watch). Each result is also told to the page as a "fer-result" event, for those who measure.
// A `session` is one camera stream from start to stop; whatever is late finds that its session has ended, and leaves.
const root = element.querySelector(".fer-cam");
const find = (selector) => root.querySelector(selector);
const video = find("video"), overlay = find(".fer-stage canvas"), mirror = find("input");
const cameras = find("[data-pick=camera]"), resolution = find("[data-pick=height]");
const chart = find(".fer-bars"), hint = find(".fer-hint"), title = find(".fer-title");
const LONG_SIDE = 640; // pixels of the frame that is sent; faces are classified at 48 px, so more only costs time
const QUALITY = 0.8;
const RETRY_MS = 1000;
const colorsOf = (label) => props.colors[label] ?? props.other_color; // of the bar and of the text on it
const timeline = new Timeline(find(".fer-time canvas"), find(".fer-time p"), (label) => colorsOf(label)[0]);
let session = null;
let faces = { list: [], width: 1, height: 1 };

const WELCOME = "Frames are looked at in memory and dropped at once.";
const REASONS = {
  NotAllowedError: "The camera was refused. Allow it for this page in the address bar, then start again.",
  NotFoundError: "No camera was found. Plug one in, then start again.",
  OverconstrainedError: "This camera is not there any more. Choose another one, then start again.",
  NotReadableError: "The camera is busy. Close the other program that uses it, then start again.",
  AbortError: "The camera did not start. Try again.",
  insecure: "Browsers give the camera only to pages served over https or from localhost.",
  unplugged: "The camera was unplugged or taken by another program. Plug it in, then start again.",
};

function setState(state, text = WELCOME) {
  root.dataset.state = state; // idle, starting, live or error; the style sheet does the rest
  find(".fer-cover-text").textContent = text;
  find("[data-do=start]").disabled = state === "starting";
  for (const action of ["stop", "pause", "snapshot"]) find(`[data-do=${action}]`).disabled = state !== "live";
}

async function start() {
  stop();
  const mine = (session = { stream: null, times: [] });
  if (!navigator.mediaDevices) return stop("error", REASONS.insecure);
  setState("starting", "Waiting for the camera…");
  try {
    const height = Number(resolution.value);
    const choice = cameras.value;
    const which = ["user", "environment"].includes(choice) ? { facingMode: choice } : { deviceId: { exact: choice } };
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { ...which, width: { ideal: Math.round((height * (height > 480 ? 16 : 12)) / 9) }, height: { ideal: height } },
      audio: false,
    });
    if (session !== mine) return release(stream); // stopped while the browser was asking
    mine.stream = stream;
    const [track] = stream.getVideoTracks();
    track.onended = () => session === mine && stop("error", REASONS.unplugged);
    mirror.checked = track.getSettings().facingMode !== "environment";
    showMirror();
    video.srcObject = stream;
    await video.play();
    await listCameras(track.getSettings().deviceId);
  } catch (error) {
    if (session === mine) stop("error", REASONS[error.name] ?? `The camera did not start (${error.message}).`);
    return;
  }
  if (session !== mine) return;
  setState("live");
  hint.textContent = "Looking…";
  loop(mine);
}

function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function stop(state = "idle", text = WELCOME) {
  release(session?.stream);
  session = null;
  video.srcObject = null;
  faces = { list: [], width: 1, height: 1 };
  draw();
  chart.replaceChildren();
  title.textContent = "Apparent expression";
  hint.textContent = "Start the camera to see the bars move.";
  for (const cell of root.querySelectorAll("[data-read]")) cell.textContent = "–";
  setState(state, text);
}

async function loop(mine) {
  while (session === mine) {
    await nextFrame();
    if (session !== mine) return;
    const taken = performance.now();
    const frame = grab();
    const answer = frame && (await server.recognize_frame(frame.url));
    if (session !== mine) return;
    if (!answer || answer.error) {
      hint.textContent = answer?.error ?? "The server does not answer; trying again…";
      await new Promise((done) => setTimeout(done, RETRY_MS));
      continue;
    }
    faces = { list: answer.faces, width: frame.width, height: frame.height };
    draw();
    const delay = performance.now() - taken;
    showBars(answer.labels);
    showSpeed(mine, delay, answer.server_ms);
    timeline.add(taken, answer, [frame.width, frame.height]);
    enableSaving();
    root.dispatchEvent(new CustomEvent("fer-result", { bubbles: true, detail: { delay, ...answer } }));
  }
}

// A new picture of the camera; in a hidden page none comes, so nothing is sent. Firefox before 132 lacks the callback.
function nextFrame() {
  return new Promise((done) =>
    video.requestVideoFrameCallback ? video.requestVideoFrameCallback(done) : requestAnimationFrame(done),
  );
}

// Not toBlob: Chromium leaves that to idle moments, and on a busy machine waits up to two seconds for one.
const sender = document.createElement("canvas");
function grab() {
  const scale = Math.min(1, LONG_SIDE / Math.max(video.videoWidth, video.videoHeight));
  sender.width = Math.round(video.videoWidth * scale);
  sender.height = Math.round(video.videoHeight * scale);
  if (!sender.width || !sender.height) return null;
  sender.getContext("2d").drawImage(video, 0, 0, sender.width, sender.height);
  return { url: sender.toDataURL("image/jpeg", QUALITY), width: sender.width, height: sender.height };
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
    const text = `${face.label} ${Math.round(face.probability * 100)}%`;
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

function draw() {
  overlay.width = video.videoWidth || 640; // setting the size also clears
  overlay.height = video.videoHeight || 480;
  paint(overlay.getContext("2d"), overlay.width, overlay.height);
}

// Bars of the largest face, in the model's own order so that they do not jump.
function showBars(labels) {
  const face = largest(faces.list);
  title.textContent = faces.list.length > 1 ? "Apparent expression of the largest face" : "Apparent expression";
  hint.textContent = face ? "" : "No face in view. Come closer, or turn on a light.";
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
    chart.children[i].querySelector("i").style.width = `${percent}%`;
    chart.children[i].querySelector(".fer-value").textContent = face ? `${Math.round(percent)}%` : "–";
  });
}

function showSpeed(mine, delay, server_ms) {
  const now = performance.now();
  mine.times = [...mine.times.filter((then) => now - then < 2000), now];
  const span = (now - mine.times[0]) / 1000;
  find("[data-read=rate]").textContent = span ? ((mine.times.length - 1) / span).toFixed(1) : "–";
  find("[data-read=delay]").textContent = `${Math.round(delay)} ms`;
  find("[data-read=server]").textContent = `${Math.round(server_ms)} ms`;
}

// Once the browser has granted a camera it tells all their names; before, front and rear is all that can be offered.
async function listCameras(current) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const named = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
  if (!named.length) return;
  cameras.replaceChildren(
    ...named.map((d, i) => new Option(d.label || `Camera ${i + 1}`, d.deviceId, false, d.deviceId === current)),
  );
}

function snapshot() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  if (mirror.checked) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
  context.drawImage(video, 0, 0);
  context.resetTransform();
  paint(context, canvas.width, canvas.height);
  save("expression.png", canvas.toDataURL("image/png"));
}

function showMirror() {
  video.classList.toggle("fer-mirrored", mirror.checked);
  draw();
}

// A paused video gives no new frames, so nothing is sent either.
function pause() {
  if (video.paused) video.play();
  else video.pause();
}
function showPause() {
  find("[data-do=pause]").setAttribute("aria-pressed", video.paused);
  find("[data-do=pause]").textContent = session && video.paused ? "Resume" : "Pause";
}

// A session can be saved until the next one starts, also after its camera was stopped or lost.
function enableSaving() {
  for (const kind of ["csv", "json"]) find(`[data-do=${kind}]`).disabled = !timeline.results.length;
}

const actions = {
  start: () => {
    timeline.clear();
    enableSaving();
    start();
  },
  stop: () => stop(),
  pause,
  snapshot,
  csv: () => saveText("expressions.csv", "text/csv", timeline.toCSV()),
  json: () => saveText("expressions.json", "application/json", JSON.stringify(timeline, null, 1)),
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : find(".fer-stage").requestFullscreen?.()),
};
for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
mirror.addEventListener("change", showMirror);
for (const pick of [cameras, resolution]) pick.addEventListener("change", () => session && start());
for (const change of ["play", "pause", "emptied"]) video.addEventListener(change, showPause);
video.addEventListener("resize", () => {
  find(".fer-stage").style.aspectRatio = `${video.videoWidth || 4} / ${video.videoHeight || 3}`; // phones turn
  draw();
});
navigator.mediaDevices?.addEventListener("devicechange", () => listCameras(cameras.value));
find("[data-do=fullscreen]").hidden = !document.fullscreenEnabled;

// The camera is released when its tab is left (the element is hidden or removed) and when the page is.
new IntersectionObserver(([entry]) => {
  if (!entry.isIntersecting && session && root.offsetParent === null && !document.fullscreenElement) stop();
}).observe(root);
window.addEventListener("pagehide", () => stop());

showMirror();
setState("idle");
