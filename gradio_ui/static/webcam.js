// The webcam tab, on the server's page and on the static one. Each result is also dispatched as a "fer-result" event,
// for benchmarks. A `session` is one camera stream from start to stop; an answer that comes after its session has ended
// is ignored.

import { REASONS, listCameras, nextFrame, openCamera, release } from "./camera.js";
import { CanvasRecorder } from "./canvas_recorder.js";
import { t, translated } from "./i18n.js";
import { verdict } from "./labels.js";
import { Pace } from "./pace.js";
import { ServerRecorder } from "./server_recorder.js";
import { SourceChoice } from "./source_choice.js";
import { Table, save, saveBlob, saveTable } from "./table.js";
import { Timeline } from "./timeline.js";
import * as view from "./view.js";

const RETRY_MS = 1000;
const PANEL_MS = 100; // between two updates of the bars and numbers, each of which costs the browser a layout

/**
 * Bring the tab to life.
 * @param {HTMLElement} element holds webcam.html
 * @param {object} options
 * @param {import("./palette.js").Palette} options.palette
 * @param {import("./sources.js").DeviceSource} options.device
 * @param {object} [options.server] the functions of the server, if there is one
 * @param {() => string} [options.model] name of the model in use on the server
 * @param {number} options.unclearBelow probability below which a label is unclear, until a visitor says otherwise
 * @returns {{modelChanged: () => void, stop: () => void}} to be called after the model has changed, and when the tab is left
 */
export function mountWebcam(element, { palette, device, server, model = () => "", unclearBelow }) {
  const root = element.querySelector(".fer-cam");
  const find = (selector) => root.querySelector(selector);
  const video = find("video"), mirror = find("[data-pick=mirror]"), blur = find("[data-pick=blur]"), hint = find("[data-read=hint]");
  const cameras = find("[data-pick=camera]"), resolution = find("[data-pick=height]");
  const smoothing = find("[data-pick=smoothing]"), threshold = find("[data-pick=threshold]");
  view.showIn(root, palette.of);
  const [fillOf, inkOf] = [0, 1].map((i) => (label) => palette.of(label)[i]);
  const timeline = new Timeline(find(".fer-lanes"), find("[data-read=session]"), fillOf, inkOf);
  const recorders = { device: new CanvasRecorder(video, view.compose, showRecording) };
  if (server) recorders.server = new ServerRecorder(server, showRecording);
  const sources = new SourceChoice(root, { device, server, model, changed: () => session && actions.start() });
  let recorder = recorders.device;
  let table = new Table();
  let session = null;
  let handOn = false; // whether the focus is to be handed on
  let startNumber = 0; // grows with each start; faces are followed from one to the next

  // A button that disappears hands the focus on to the one that takes its place.
  function setState(state, text = sources.welcome) {
    const focused = root.contains(document.activeElement) ? document.activeElement.dataset.do : "";
    if (state !== "live" && focused) handOn = ["start", "stop"].includes(focused);
    root.dataset.state = state; // idle, starting, live or error; the style sheet does the rest
    find(".fer-cover-text").textContent = text;
    find(".fer-cover progress").hidden = true;
    find("[data-do=start]").disabled = state === "starting";
    for (const action of ["stop", "pause", "record", "snapshot"]) find(`[data-do=${action}]`).disabled = state !== "live";
    if (!handOn || state === "starting") return;
    handOn = false;
    if (!document.activeElement || document.activeElement === document.body || root.contains(document.activeElement))
      find(state === "live" ? "[data-do=pause]" : "[data-do=start]").focus();
  }

  async function start() {
    stop();
    const mine = (session = { stream: null, source: null, times: [], pace: new Pace(), drawn: 0, told: 0, retry: 0 });
    setState("starting", t("cam.waiting"));
    const loading = sources.load((progress) => session === mine && mine.stream && showProgress(progress));
    loading.catch(() => {}); // told below
    try {
      const stream = await openCamera(cameras.value, Number(resolution.value));
      if (session !== mine) return release(stream); // stopped while the browser was asking
      mine.stream = stream;
      const [track] = stream.getVideoTracks();
      track.onended = () => session === mine && stop("error", t(REASONS.unplugged));
      mirror.checked = track.getSettings().facingMode !== "environment";
      showMirror();
      video.srcObject = stream;
      await video.play();
      await listCameras(cameras, track.getSettings().deviceId);
    } catch (error) {
      if (session === mine) stop("error", t(REASONS[error.name] ?? "error.camera_reason", { reason: error.message }));
      return;
    }
    try {
      mine.source = await loading;
    } catch (error) {
      if (session === mine) stop("error", translated(error.message));
      return;
    }
    if (session !== mine) return;
    setState("live");
    hint.textContent = t("cam.looking");
    loop(mine);
  }

  function showProgress({ loaded, total }) {
    const bar = find(".fer-cover progress");
    const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
    bar.hidden = false;
    Object.assign(bar, { max: total || 1, value: loaded });
    find(".fer-cover-text").textContent = t("cam.model", { loaded: megabytes(loaded), total: megabytes(total) });
  }

  function stop(state = "idle", text = undefined) {
    recorder.stop();
    release(session?.stream);
    session = null;
    video.srcObject = null;
    view.clear();
    setState(state, text);
  }

  async function loop(mine) {
    while (session === mine) {
      await nextFrame(video);
      const now = performance.now();
      if (session === mine && mine.pace.ready(now) && now >= mine.retry) ask(mine, now);
    }
  }

  async function ask(mine, taken) {
    mine.pace.sent(taken);
    const [seconds, recording] = [taken / 1000, recorder.current];
    const unclear = Number(threshold.value);
    const frame = { start: startNumber, seconds, smoothing: Number(smoothing.value), threshold: unclear, recording };
    const answer = await mine.source.see(video, frame);
    mine.pace.answered(answer.work);
    if (session !== mine) return;
    if (answer.error) {
      if (answer.broken) {
        sources.close();
        return stop("error", translated(answer.error));
      }
      hint.textContent = translated(answer.error);
      mine.retry = performance.now() + RETRY_MS;
      return;
    }
    if (answer.late) return;
    if (taken < mine.drawn) return;
    mine.drawn = taken;
    palette.labels = answer.labels;
    for (const face of answer.faces) Object.assign(face, verdict(face.label, face.probabilities, unclear));
    view.show({ list: answer.faces, width: answer.width, height: answer.height });
    const delay = performance.now() - taken;
    mine.times = [...mine.times.filter((then) => taken - then < 2000), taken];
    if (taken - mine.told >= PANEL_MS) {
      mine.told = taken;
      view.showBars(answer.labels);
      view.showSpeed(mine.times, delay, answer.work);
      enableSaving();
    }
    timeline.add(seconds, answer.labels, answer.faces);
    table.add(seconds, [answer.width, answer.height], answer.labels, answer.faces);
    recorder.saw(recording, seconds);
    root.dispatchEvent(new CustomEvent("fer-result", { bubbles: true, detail: { delay, ...answer } }));
  }

  function snapshot() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    view.compose(canvas.getContext("2d"), canvas.width, canvas.height);
    save("expression.png", canvas.toDataURL("image/png"));
  }

  function showMirror() {
    video.classList.toggle("fer-mirrored", mirror.checked);
    view.draw();
  }

  // A paused video gives no new frames, so nothing is recognized.
  function pause() {
    if (video.paused) video.play();
    else video.pause();
  }
  function showPause() {
    find("[data-do=pause]").setAttribute("aria-pressed", video.paused);
    find("[data-do=pause]").textContent = t(session && video.paused ? "cam.resume" : "cam.pause");
  }

  // A session can be saved until the next one starts, also after its camera was stopped or lost.
  function enableSaving() {
    for (const kind of ["csv", "json"]) find(`[data-do=${kind}]`).disabled = !table.rows.length;
  }

  function record() {
    if (recorder.running) return recorder.stop();
    if (recorder.busy) return;
    recorder = recorders[blur.checked ? "device" : session.source.name]; // the server records frames as they are
    recorder.start(table, model());
  }

  function showRecording(shown, notice) {
    if (shown !== recorder) return;
    const { running, busy, file, began, ended, bytes, current } = shown;
    const button = find("[data-do=record]");
    const long = Math.round(ended - began);
    const time = `${Math.floor(long / 60)}:${String(long % 60).padStart(2, "0")}`;
    const megabytes = (size) => (size / 1e6).toFixed(1);
    button.setAttribute("aria-pressed", running);
    blur.disabled = running;
    button.textContent = running ? `${t("cam.stop_recording", { time })}${bytes ? `, ${megabytes(bytes)} MB` : ""}` : t("cam.record");
    const told = file
      ? t("cam.recorded", { time, size: megabytes(file.size) })
      : busy && t("cam.finishing");
    find(".fer-recording").hidden = running || !(told || notice); // first, so that the text is read out
    find(".fer-recording .fer-hint").textContent = [notice && translated(notice), told].filter(Boolean).join(" ");
    find(".fer-recording .fer-actions").hidden = !file;
  }

  const actions = {
    start: () => {
      timeline.clear();
      table = new Table();
      startNumber = performance.now();
      view.follow();
      enableSaving();
      start();
    },
    stop: () => stop(),
    pause,
    snapshot,
    record,
    video: () => saveBlob(recorder.file.type.includes("webm") ? "recording.webm" : "recording.mp4", recorder.file),
    "video-csv": () => saveTable("recording", recorder.table, "csv"),
    "video-json": () => saveTable("recording", recorder.table, "json"),
    csv: () => saveTable("expressions", table, "csv"),
    json: () => saveTable("expressions", table, "json"),
    fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : find(".fer-stage").requestFullscreen?.()),
  };
  for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
  mirror.addEventListener("change", showMirror);
  const showSmoothing = () => {
    const seconds = Number(smoothing.value);
    const told = seconds ? t("cam.seconds", { count: seconds.toFixed(1) }) : t("cam.off");
    smoothing.ariaValueText = smoothing.nextElementSibling.textContent = told;
  };
  smoothing.addEventListener("input", showSmoothing);
  showSmoothing();
  const showThreshold = () => {
    threshold.ariaValueText = threshold.nextElementSibling.textContent = `${Math.round(100 * threshold.value)}%`;
  };
  threshold.addEventListener("input", showThreshold);
  threshold.value = unclearBelow;
  showThreshold();
  for (const pick of [cameras, resolution]) pick.addEventListener("change", () => session && start());
  for (const change of ["play", "pause", "emptied"]) video.addEventListener(change, showPause);
  video.addEventListener("resize", () => {
    find(".fer-stage").style.aspectRatio = `${video.videoWidth || 4} / ${video.videoHeight || 3}`; // phones turn
    view.draw();
  });
  navigator.mediaDevices?.addEventListener("devicechange", () => listCameras(cameras, cameras.value));
  find("[data-do=fullscreen]").hidden = !document.fullscreenEnabled;

  // Some phones pause the video of a hidden page, and leave it so.
  let played = false;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) played = Boolean(session) && !video.paused;
    else if (played && session && video.paused) video.play();
  });

  // The camera is released when its tab is left (the element is hidden or removed) and when the page is.
  new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting && session && root.offsetParent === null && !document.fullscreenElement) stop();
  }).observe(root);
  window.addEventListener("pagehide", () => stop());

  view.watchAge(() => session);
  showMirror();
  setState("idle");
  sources.check().then(() => root.dataset.state === "idle" && setState("idle")); // with another welcome; an error stays
  const modelChanged = async () => {
    const running = session;
    await sources.check();
    if (running && session === running) actions.start(); // its labels may be others
  };
  return { modelChanged, stop };
}
