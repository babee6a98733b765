// One or many images, dropped, pasted, chosen or taken, recognized on this device; nothing is uploaded. It is the image
// tab of the static page, and a choice in that of the server's.

import { REASONS, openCamera, release } from "./camera.js";
import { counted, labelName, shownName, t, translated } from "./i18n.js";
import { readingOrder, verdict } from "./labels.js";
import { imagesToCSV, save, saveBlob } from "./table.js";
import { paintStill } from "./view.js";

const LONG_SIDE = 1600; // pixels of the image that is shown; a small one is enlarged
const SMALLEST = 480;

/**
 * Bring the tab to life.
 * @param {HTMLElement} root holds device_images.html
 * @param {object} options
 * @param {import("./palette.js").Palette} options.palette
 * @param {import("./sources.js").DeviceSource} options.device
 * @param {number} options.unclearBelow probability below which a label is unclear
 * @returns {{modelChanged: () => void, stop: () => void}} to be called after the model has changed, and when the tab is left
 */
export function mountImages(root, { palette, device, unclearBelow }) {
  const find = (selector) => root.querySelector(selector);
  const whole = find("[data-pick=whole]"), video = find("video"), canvas = find(".fer-still-result canvas");
  let entries = []; // { file, blob, size, faces } or { file, blob, error }
  let shown = null;
  let job = null; // the work in progress; another one takes its place

  async function add(files) {
    const images = [...files].filter(({ type }) => type.startsWith("image/"));
    if (!images.length) return files.length && tell(t("space.other_files"));
    entries = images.map((blob) => ({ file: blob.name || "image.png", blob }));
    await run();
  }

  async function run() {
    const mine = (job = {});
    for (const entry of entries) for (const key of ["size", "faces", "error"]) delete entry[key];
    show(null);
    try {
      await device.load(({ loaded, total }) => job === mine && progress(t("cam.model", { loaded: mb(loaded), total: mb(total) }), loaded, total));
    } catch (error) {
      if (job === mine) finish(translated(error.message));
      return;
    }
    palette.labels = device.labels;
    for (const [done, entry] of entries.entries()) {
      progress(entries.length > 1 ? `${done} / ${entries.length}` : t("space.looking"), done, entries.length);
      await recognize(entry);
      if (job !== mine) return;
      if (done === 0) show(entry);
      if (entries.length > 1) list();
    }
    finish(summary());
  }

  async function recognize(entry) {
    try {
      const { width, height, faces } = await device.recognize(entry.blob, { wholeImage: whole.checked });
      entry.size = [width, height];
      const sorted = readingOrder(faces.map(({ box }) => box)).map((i) => faces[i]);
      entry.faces = sorted.map(({ box, confidence, label, probabilities }, i) => ({
        face: i + 1,
        box: box.map((value) => Number(value.toFixed(1))),
        ...{ confidence, label, probability: probabilities[label], probabilities },
        ...verdict(label, probabilities, unclearBelow),
      }));
    } catch (error) {
      entry.error = error.message;
    }
  }

  function summary() {
    const count = entries.reduce((sum, { faces = [] }) => sum + faces.length, 0);
    const unread = entries.filter(({ error }) => error).length;
    if (entries.length === 1 && unread) return `${t("image.unreadable")}. ${translated(entries[0].error)}`;
    if (!count && entries.length === 1) return `${t("face.none")}. ${t("face.advice")}`;
    if (entries.length === 1) return counted("face.found", count);
    const found = t("batch.found", { faces: counted("face.count", count), pictures: counted("batch.count", entries.length) });
    return `${found}${unread ? `. ${t("batch.unread", { count: unread })}` : ""}`;
  }

  function tell(text) {
    find(".fer-still-notice").textContent = text;
  }
  function progress(text, value, max) {
    tell(text);
    Object.assign(find("progress"), { hidden: false, value, max: max || 1 });
    find("[data-do=cancel]").hidden = entries.length < 2;
  }
  function finish(text) {
    job = null;
    find("progress").hidden = find("[data-do=cancel]").hidden = true;
    tell(text);
    list();
  }

  // The images of a batch, a row each.
  function list() {
    find(".fer-still-batch").hidden = entries.length < 2;
    const rows = entries.length < 2 ? [] : entries.filter(({ faces, error }) => faces || error);
    find(".fer-still-batch tbody").replaceChildren(
      ...rows.map((entry) => {
        const row = document.createElement("tr");
        row.innerHTML = '<th scope="row"><button type="button" class="fer-still-link"></button></th><td></td><td></td>';
        const button = row.querySelector("button");
        button.textContent = entry.file;
        button.setAttribute("aria-pressed", entry === shown);
        button.addEventListener("click", () => show(entry));
        row.children[1].textContent = entry.error ? "–" : entry.faces.length;
        row.children[2].textContent = entry.error ? translated(entry.error) : entry.faces.map(named).join(", ") || t("batch.no_face");
        return row;
      }),
    );
    for (const kind of ["csv", "json"]) find(`.fer-still-batch [data-do=all-${kind}]`).disabled = Boolean(job);
  }

  async function show(entry) {
    shown = entry;
    const faces = entry?.faces ?? [];
    find(".fer-still-result").hidden = !entry || Boolean(entry.error);
    for (const button of root.querySelectorAll(".fer-still-link")) button.setAttribute("aria-pressed", button.textContent === entry?.file);
    if (!entry || entry.error) return entry?.error && tell(`${entry.file}: ${translated(entry.error)}`);
    choose(0);
    find(".fer-still-faces").hidden = faces.length < 2;
    find(".fer-still-faces select").replaceChildren(...faces.map((face, i) => new Option(`${face.face} · ${named(face)}`, i)));
    find(".fer-still-actions").hidden = !faces.length;
    canvas.setAttribute("aria-label", faces.length ? t("face.marked", { faces: faces.map(named).join(", ") }) : t("space.no_face"));
    const bitmap = await createImageBitmap(entry.blob, { imageOrientation: "from-image" });
    if (shown === entry) draw(entry, bitmap);
    bitmap.close();
  }

  function draw({ size, faces }, bitmap) {
    const long = Math.max(...size);
    const scale = Math.min(LONG_SIDE, Math.max(SMALLEST, long)) / long;
    const [width, height] = size.map((side) => Math.max(1, Math.round(side * scale)));
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0, width, height);
    paintStill(context, width, height, { list: faces, width: size[0], height: size[1] }, palette.of);
  }

  // The bars of one face, the largest first.
  function choose(index) {
    const faces = shown.faces;
    const sorted = Object.entries(faces[index]?.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
    find(".fer-still-title").textContent = faces.length > 1 ? t("face.title_of", { number: index + 1 }) : t("face.title");
    find(".fer-bars").replaceChildren(
      ...sorted.map(([label, probability]) => {
        const row = document.createElement("li");
        row.innerHTML = '<span class="fer-name"></span><span class="fer-track" aria-hidden="true"><i></i></span><span class="fer-value"></span>';
        row.firstChild.textContent = labelName(label);
        Object.assign(row.querySelector("i").style, { width: `${100 * probability}%`, background: palette.of(label)[0] });
        row.lastChild.textContent = percent(probability);
        return row;
      }),
    );
  }

  const result = ({ file, size, faces, error }) => (error ? { file, error } : { file, size, faces });
  const saveText = (name, type, text) => saveBlob(name, new Blob([text], { type }));
  const json = (content) => saveText("expressions.json", "application/json", JSON.stringify(content, null, 1));
  const csv = (some) => saveText("expressions.csv", "text/csv", imagesToCSV(some.map(result), device.labels));

  async function snap() {
    try {
      video.srcObject = await openCamera("user", 720);
      await video.play();
      find(".fer-still-camera").hidden = false;
      find("[data-do=shoot]").focus();
    } catch (error) {
      tell(t(REASONS[error.name] ?? "error.camera_reason", { reason: error.message }));
    }
  }
  function shoot() {
    const still = document.createElement("canvas");
    [still.width, still.height] = [video.videoWidth, video.videoHeight];
    still.getContext("2d").drawImage(video, 0, 0);
    stop();
    still.toBlob((blob) => add([new File([blob], "camera.png", { type: blob.type })]), "image/png");
  }
  function stop() {
    release(video.srcObject);
    video.srcObject = null;
    find(".fer-still-camera").hidden = true;
  }

  const actions = {
    choose: () => find("[type=file]").click(),
    snap,
    shoot,
    close: stop,
    cancel: () => {
      entries = entries.filter(({ faces, error }) => faces || error);
      finish(`${t("space.stopped")} ${summary()}`);
    },
    picture: () => save("expressions.png", canvas.toDataURL("image/png")),
    csv: () => csv([shown]),
    json: () => json({ labels: device.labels, ...result(shown) }),
    "all-csv": () => csv(entries),
    "all-json": () => json({ labels: device.labels, images: entries.map(result) }),
  };
  for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", () => actions[button.dataset.do]());
  find(".fer-still-faces select").addEventListener("change", ({ target }) => choose(Number(target.value)));
  find("[type=file]").addEventListener("change", ({ target }) => {
    add(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
  const again = () => entries.length && run();
  whole.addEventListener("change", again);
  const drop = find(".fer-still-drop");
  for (const event of ["dragenter", "dragover"]) drop.addEventListener(event, (over) => mark(over, true));
  for (const event of ["dragleave", "drop"]) drop.addEventListener(event, (over) => mark(over, false));
  function mark(event, over) {
    event.preventDefault();
    drop.classList.toggle("fer-still-over", over);
    if (event.type === "drop") add(event.dataTransfer.files);
  }
  document.addEventListener("paste", ({ clipboardData }) => root.offsetParent && clipboardData.files.length && add(clipboardData.files));
  return { modelChanged: again, stop };
}

const percent = (probability) => `${(100 * probability).toFixed(1)}%`;
const named = (face) =>
  face.unclear ? t("face.unclear_as", { shown: shownName(face) }) : `${labelName(face.label)} ${Math.round(100 * face.probability)}%`;
const mb = (bytes) => (bytes / 1e6).toFixed(1);
