// The choice between this device and the server, the badge that says which is in use, and the way from one to the other.

import { t, translated } from "./i18n.js";
import { ServerSource } from "./sources.js";

export class SourceChoice {
  /**
   * @param {HTMLElement} root
   * @param {object} options
   * @param {import("./sources.js").DeviceSource} options.device
   * @param {object} [options.server] the functions of the server; without one there is no choice
   * @param {() => string} options.model name of the model in use on the server
   * @param {() => void} options.changed called after the visitor has chosen
   */
  constructor(root, { device, server, model, changed }) {
    Object.assign(this, { root, device, refused: "" });
    this.server = server ? new ServerSource(server, model) : null;
    this.wish = "device"; // what the visitor wants; where it cannot be had, the server takes its place
    root.querySelector(".fer-place").hidden = !server;
    for (const radio of this.#radios()) {
      radio.addEventListener("change", () => {
        this.wish = radio.value;
        if (radio.value === "device") this.refused = ""; // it is tried again
        this.show();
        changed();
      });
    }
    this.show();
  }

  /** The source in use, once it is loaded. */
  get current() {
    return this.server && (this.wish === "server" || this.refused) ? this.server : this.device;
  }

  get welcome() {
    return t(`cam.welcome_${this.current.name}`);
  }

  /** Look whether the model in use runs on this device; nothing large is loaded. */
  check() {
    return (this.checking = this.#check());
  }

  async #check() {
    const url = this.device.address();
    const refused = await this.device.refusal();
    if (url !== this.device.address()) return; // another model was chosen meanwhile
    this.refused = refused;
    this.show();
  }

  /**
   * Load the source in use; where this device cannot be it, change to the server and say so.
   * @param {(progress: {loaded: number, total: number}) => void} onProgress in bytes
   * @returns {Promise<import("./sources.js").DeviceSource | ServerSource>}
   * @throws {Error} there is no server, either; with the reason as a sentence
   */
  async load(onProgress) {
    await this.checking; // or a late answer would undo what is found out here
    const source = this.current;
    if (source === this.device) {
      try {
        await source.load(onProgress);
        this.refused = "";
        this.show();
        return source;
      } catch (error) {
        this.refused = error.message;
        this.show();
        if (!this.server) throw error;
      }
    }
    this.show();
    return this.current;
  }

  /** Free what is loaded; the next start loads it again. */
  close() {
    this.device.close();
  }

  show() {
    const { name } = this.current;
    const find = (selector) => this.root.querySelector(selector);
    for (const radio of this.#radios()) radio.checked = radio.value === name;
    Object.assign(find(".fer-badge"), { textContent: t(`cam.badge_${name}`) }).dataset.place = name;
    const why = this.refused && this.wish === "device" ? this.refused : "";
    find(".fer-why").hidden = !why;
    find(".fer-why").textContent = why && [t("cam.not_here", { reason: translated(why) }), this.server && t("cam.instead")].filter(Boolean).join(" ");
    find("[data-read=worker]").textContent = t(name === "device" ? "cam.on_device" : "cam.server");
  }

  #radios() {
    return this.root.querySelectorAll(".fer-place input");
  }
}
