// Body of the function that gr.HTML runs for the summary of a video: a click on a key moment or on the plot seeks, and
// a cursor in the plot follows the video.
const find = (selector) => document.querySelector(selector);
const player = () => find("#video-result video");
const cursor = Object.assign(document.createElement("div"), { className: "fer-cursor", hidden: true });

// Where the plot has its times: { element, axis, top, height } in pixels of the element, or null where there is none.
function plotted() {
  const plot = find("#video-plot .js-plotly-plot");
  const layout = plot?._fullLayout; // Plotly has no public way to tell where a time stands
  if (!layout?.xaxis?._length) return null;
  const { t, h } = layout._size;
  return { element: plot, axis: layout.xaxis, top: t, height: h };
}

function seek(seconds) {
  const video = player();
  if (video) video.currentTime = Math.min(Math.max(seconds, 0), video.duration || seconds);
}

function follow() {
  const plot = plotted(), video = player();
  cursor.hidden = !plot || !video;
  if (cursor.hidden) return;
  if (cursor.parentElement !== plot.element) plot.element.append(cursor);
  const place = plot.axis._offset + plot.axis.l2p(video.currentTime);
  cursor.hidden = place < plot.axis._offset || place > plot.axis._offset + plot.axis._length; // zoomed in elsewhere
  Object.assign(cursor.style, { left: `${place}px`, top: `${plot.top}px`, height: `${plot.height}px` });
}

element.addEventListener("click", ({ target }) => {
  const moment = target.closest("[data-seconds]");
  if (!moment) return;
  seek(Number(moment.dataset.seconds));
  player()?.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
});
// In the capturing phase and at the document, as Plotly keeps clicks to itself and Gradio replaces the elements.
let pressed = null;
document.addEventListener("pointerdown", ({ clientX }) => (pressed = clientX), true);
document.addEventListener(
  "pointerup",
  ({ target, clientX }) => {
    const plot = plotted();
    if (!plot?.element.contains(target) || Math.abs(clientX - pressed) > 3) return; // farther: it zooms
    const across = clientX - plot.element.getBoundingClientRect().left - plot.axis._offset;
    if (across >= 0 && across <= plot.axis._length) seek(plot.axis.p2l(across));
  },
  true,
);
// Media events do not bubble, but they can be captured.
for (const event of ["timeupdate", "seeking", "loadedmetadata"])
  document.addEventListener(event, ({ target }) => target === player() && follow(), true);
(function everyFrame() {
  if (player() && !player().paused) follow();
  requestAnimationFrame(everyFrame);
})();
