// Body of the function that gr.HTML runs for the page's header: what works on the whole page. A picture may be pasted
// anywhere, #webcam in the address opens that tab, keys work the webcam, and "?" lists them.
const texts = import(new URL("device/page/i18n.js", document.baseURI));
const find = (selector) => document.querySelector(selector);
const tabs = () => [...document.querySelectorAll("[role=tab]")];
const nameOf = (tab) => tab.id.replace(/^tab-|-button$/g, "");
const shown = (part) => Boolean(part?.offsetParent);
const help = element.querySelector("dialog");

function openTab(name) {
  tabs().find((tab) => nameOf(tab) === name)?.click();
}

// Resolves with what `look` finds, once it finds something.
function found(look) {
  return new Promise((done) => {
    const now = look();
    if (now) return done(now);
    const observer = new MutationObserver(() => {
      const then = look();
      if (then) observer.disconnect(), done(then);
    });
    observer.observe(document.body, { childList: true, subtree: true, attributes: true });
  });
}

document.title = element.querySelector("h1").textContent;
found(() => find("#examples img")).then(async () => {
  const { t } = await texts;
  for (const image of document.querySelectorAll("[data-i18n-alt]")) image.alt = t(image.dataset.i18nAlt);
});

const openNamed = () => openTab(decodeURIComponent(location.hash.slice(1)).toLowerCase());
if (location.hash) found(() => tabs().length).then(openNamed);
window.addEventListener("hashchange", openNamed);
document.addEventListener("click", ({ target, isTrusted }) => {
  const tab = target.closest("[role=tab]");
  if (tab && isTrusted) history.replaceState(null, "", `#${nameOf(tab)}`);
  if (target.closest("[data-do=help]")) help.showModal();
  if (target === help) help.close(); // beside its text
});

// Gradio takes a pasted picture only after a click on its own button for that.
document.addEventListener("paste", async (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (!picture || shown(find("#batch-files")) || shown(find("#video-file"))) return;
  event.preventDefault();
  openTab("image");
  if (shown(find("#another"))) find("#another").click();
  const input = await found(() => find("#picture input[type=file]"));
  const files = new DataTransfer();
  files.items.add(picture);
  input.files = files.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});

const KEYS = { " ": "pause", s: "snapshot", r: "record" };
document.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, metaKey, altKey, repeat } = event;
  if (ctrlKey || metaKey || altKey || repeat || help.open) return;
  if (target.closest("input, textarea, select, [contenteditable]")) return;
  if (key === "?") return help.showModal();
  const action = KEYS[key.toLowerCase()];
  if (!action || !shown(find("#webcam .fer-cam"))) return;
  if (key === " " && target.closest("button, summary, [role=tab]")) return; // it presses that
  const button = find(`#webcam [data-do=${action}]`);
  if (button.disabled) return;
  event.preventDefault();
  button.click();
});

// Gradio's own picture from the camera stays silent where there is none.
const REASONS = {
  NotAllowedError: "image.camera_refused",
  NotFoundError: "image.camera_missing",
  NotReadableError: "image.camera_busy",
};
const media = navigator.mediaDevices;
const ask = media?.getUserMedia.bind(media);
if (media)
  media.getUserMedia = async (wanted) => {
    const told = find("#camera-refused p");
    if (told) told.hidden = true;
    try {
      return await ask(wanted);
    } catch (error) {
      if (told && shown(find("#picture"))) {
        told.hidden = false;
        const { t } = await texts;
        told.textContent = t(REASONS[error.name] ?? "error.camera_reason", { reason: error.message });
      }
      throw error;
    }
  };
