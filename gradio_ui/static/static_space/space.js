// The static page: tabs, and the service worker that keeps the page for use without a network.

import { mountImages } from "../device_images.js";
import { fillIn, t } from "../i18n.js";
import { UNCLEAR_BELOW } from "../on_device/doubt.js";
import { Palette } from "../palette.js";
import { DeviceSource } from "../sources.js";
import { mountWebcam } from "../webcam.js";

fillIn(document);
document.title = t("page.title");
const { colors, other } = JSON.parse(document.querySelector("#palette").textContent);
const palette = new Palette(colors, other);
const device = new DeviceSource(() => new URL("device.json", document.baseURI).href);
const tabs = [...document.querySelectorAll("[role=tab]")];
const panels = tabs.map((tab) => document.getElementById(tab.getAttribute("aria-controls")));
const [webcam, images] = ["webcam", "image"].map((id) => document.getElementById(id));
const options = { palette, device, unclearBelow: UNCLEAR_BELOW };
const mounted = { webcam: mountWebcam(webcam, options), image: mountImages(images, options) };

function open(index, focus = false) {
  for (const [i, tab] of tabs.entries()) {
    tab.setAttribute("aria-selected", i === index);
    tab.tabIndex = i === index ? 0 : -1;
    if (i !== index && !panels[i].hidden) mounted[panels[i].id]?.stop(); // a camera is let go
    panels[i].hidden = i !== index;
  }
  if (focus) tabs[index].focus();
  history.replaceState(null, "", `#${panels[index].id}`);
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => open(i));
  tab.addEventListener("keydown", ({ key }) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: -1 }[key];
    if (to !== undefined) open((to + tabs.length) % tabs.length, true);
  });
}
const wanted = panels.findIndex((panel) => `#${panel.id}` === location.hash);
open(Math.max(0, wanted));

navigator.serviceWorker?.register("service-worker.js").catch(() => {}); // without one the page works, but not offline
