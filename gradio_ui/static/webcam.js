// Body of the function that gr.HTML runs when the webcam tab is shown, after timeline.js, recorder.js, labels.js and view.js:
// (element, trigger, props, server, upload, watch). Each result is also dispatched as a "fer-result" event, for
// benchmarks.
// A `session` is one camera stream from start to stop; an answer that comes after its session has ended is ignored.
const root = element.querySelector(".fer-cam");
const find = (selector) => root.querySelector(selector);
const video = find("video"), overlay = find(".fer-stage canvas"), mirror = find("[type=checkbox]");
const cameras = find("[data-pick=camera]"), resolution = find("[data-pick=height]");
const chart = find(".fer-bars"), hint = find("[data-read=hint]"), title = find(".fer-title");
const smoothing = find("[data-pick=smoothing]"), threshold = find("[data-pick=threshold]");
const LONG_SIDE = 480; // pixels of the frame that is sent, and recorded; faces are classified at 48, so more would only cost speed
const QUALITY = 0.8;
const RETRY_MS = 1000;
const PANEL_MS = 100; // between two updates of the bars and numbers, each of which costs the browser a layout
const IN_FLIGHT = 2; // frames: one is on its way while the server works on the other
const LARGER = 1.3; // times the area of the face whose bars are shown, before another one's are
const colorsOf = (label) => props.colors[label] ?? props.other_color; // of the bar and of the text on it
const timeline = new Timeline(find(".fer-lanes"), find("[data-read=session]"), (label) => colorsOf(label)[0], (label) => colorsOf(label)[1]);
const recorder = new Recorder(server, showRecording);
let table = new Table();
let session = null;
let startNumber = 0; // grows with each start; the server follows faces from one to the next
let followed = null; // id of the face whose bars are shown
let faces = { list: [], width: 1, height: 1 };

const WELCOME = "Frames are processed in memory and never stored.";
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
  for (const action of ["stop", "pause", "record", "snapshot"]) find(`[data-do=${action}]`).disabled = state !== "live";
}

async function start() {
  stop();
  const mine = (session = { stream: null, times: [], flying: 0, sent: 0, drawn: 0, told: 0, serverMs: 0, retry: 0 });
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
  recorder.stop();
  release(session?.stream);
  session = null;
  video.srcObject = null;
  faces = { list: [], width: 1, height: 1 };
  draw();
  chart.replaceChildren();
  title.textContent = "Apparent expression";
  hint.textContent = "Start the camera to see the bars move.";
  for (const cell of root.querySelectorAll("dd")) cell.textContent = "–";
  setState(state, text);
}

// A frame is sent as soon as the server should be done with the one before, whose answer may still be on its way. So
// neither the network nor the camera's rate costs results, and no frame waits for another.
async function loop(mine) {
  while (session === mine) {
    await nextFrame();
    const now = performance.now();
    const free = mine.flying === 0 || (mine.flying < IN_FLIGHT && now - mine.sent >= mine.serverMs);
    if (session === mine && free && now >= mine.retry) ask(mine, now);
  }
}

async function ask(mine, taken) {
  const frame = grab();
  if (!frame) return;
  mine.flying += 1;
  mine.sent = taken;
  const [seconds, recording] = [taken / 1000, recorder.current];
  const answer = await server.recognize_frame({
    image: frame.url, start: startNumber, seconds, smoothing: Number(smoothing.value),
    threshold: Number(threshold.value), recording, model: props.model,
  });
  mine.flying -= 1;
  if (session !== mine) return;
  if (!answer || answer.error) {
    hint.textContent = answer?.error ?? "The server does not answer; trying again…";
    mine.retry = performance.now() + RETRY_MS;
    return;
  }
  mine.serverMs = answer.server_ms;
  if (answer.late || taken < mine.drawn) return;
  mine.drawn = taken;
  for (const face of answer.faces) Object.assign(face, verdict(face.label, face.probabilities, Number(threshold.value)));
  faces = { list: answer.faces, width: frame.width, height: frame.height };
  draw();
  const delay = performance.now() - taken;
  mine.times = [...mine.times.filter((then) => taken - then < 2000), taken];
  if (taken - mine.told >= PANEL_MS) {
    mine.told = taken;
    showBars(answer.labels);
    showSpeed(mine.times, delay, answer.server_ms);
    enableSaving();
  }
  timeline.add(seconds, answer.labels, answer.faces);
  table.add(seconds, [frame.width, frame.height], answer.labels, answer.faces);
  recorder.saw(recording, seconds);
  root.dispatchEvent(new CustomEvent("fer-result", { bubbles: true, detail: { delay, ...answer } }));
}

// The next frame of the camera; in a hidden page none comes, so nothing is sent. Firefox before 132 lacks the callback.
function nextFrame() {
  return new Promise((done) =>
    video.requestVideoFrameCallback ? video.requestVideoFrameCallback(done) : requestAnimationFrame(done),
  );
}

// Not toBlob: Chromium runs it when idle, and on a busy machine waits up to two seconds for that.
const sender = document.createElement("canvas");
function grab() {
  const scale = Math.min(1, LONG_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const [width, height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
  if (!width || !height) return null;
  if (sender.width !== width || sender.height !== height) Object.assign(sender, { width, height });
  sender.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
  return { url: sender.toDataURL("image/jpeg", QUALITY), width, height };
}

// The browser tells the cameras' names once it has granted one; until then the choice is between front and rear.
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

// A paused video gives no new frames, so nothing is sent.
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
  for (const kind of ["csv", "json"]) find(`[data-do=${kind}]`).disabled = !table.rows.length;
}

function record() {
  if (recorder.running) recorder.stop();
  else if (!recorder.busy) recorder.start(table, props.model);
}

function showRecording(notice) {
  const { running, busy, file, began, ended } = recorder;
  const button = find("[data-do=record]");
  const long = Math.round(ended - began);
  const time = `${Math.floor(long / 60)}:${String(long % 60).padStart(2, "0")}`;
  button.setAttribute("aria-pressed", running);
  button.textContent = running ? `Stop recording ${time}` : "Record";
  const megabytes = file && (file.size / 1e6).toFixed(1);
  const told = file
    ? `Recorded ${time} (${megabytes} MB), not mirrored. Only your browser has it, until the next recording.`
    : busy && "Finishing the video…";
  find(".fer-recording").hidden = running || !(told || notice); // first, so that the text is read out
  find(".fer-recording .fer-hint").textContent = [notice, told].filter(Boolean).join(" ");
  find(".fer-recording .fer-actions").hidden = !file;
}

const actions = {
  start: () => {
    timeline.clear();
    table = new Table();
    startNumber = performance.now();
    followed = chosen = null;
    enableSaving();
    start();
  },
  stop: () => stop(),
  pause,
  snapshot,
  record,
  video: () => saveBlob("recording.mp4", recorder.file),
  "video-csv": () => saveTable("recording", recorder.table, "csv"),
  "video-json": () => saveTable("recording", recorder.table, "json"),
  csv: () => saveTable("expressions", table, "csv"),
  json: () => saveTable("expressions", table, "json"),
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : find(".fer-stage").requestFullscreen?.()),
};
for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
mirror.addEventListener("change", showMirror);
smoothing.addEventListener("input", () => {
  const seconds = Number(smoothing.value);
  smoothing.ariaValueText = smoothing.nextElementSibling.textContent = seconds ? `${seconds.toFixed(1)} s` : "off";
});
threshold.addEventListener("input", () => {
  threshold.ariaValueText = threshold.nextElementSibling.textContent = `${Math.round(100 * threshold.value)}%`;
});
for (const pick of [cameras, resolution]) pick.addEventListener("change", () => session && start());
watch("model", () => session && actions.start()); // its labels may be others
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
