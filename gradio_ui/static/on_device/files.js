// Downloads: verified by checksum, kept by the browser, with progress.

import { DeviceError } from "./errors.js";

const CACHE = "expression-recognizer"; // of the Cache API; what lies in it is verified again at each start

/** The bytes of all files of one start, for a progress bar. */
export class Progress {
  /** @type {Map<string, {loaded: number, total: number}>} */
  #files = new Map();

  /** @param {import("./types.js").OnProgress} report */
  constructor(report) {
    this.report = report;
  }

  /**
   * @param {string} file
   * @param {number} loaded bytes
   * @param {number} total bytes, or 0 where the server does not say
   */
  update(file, loaded, total) {
    this.#files.set(file, { loaded, total: Math.max(loaded, total) });
    const sums = { loaded: 0, total: 0 };
    for (const one of this.#files.values()) {
      sums.loaded += one.loaded;
      sums.total += one.total;
    }
    this.report({ ...sums, file });
  }
}

/**
 * Fetch a file, from the browser's cache where it lies there with the right checksum.
 * @param {string} url
 * @param {{sha256?: string, bytes?: number, progress?: Progress}} [options] bytes: its size, where it is known
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 * @throws {DeviceError} it cannot be reached, is not there, or has another checksum
 */
export async function fetchFile(url, { sha256, bytes = 0, progress } = {}) {
  const file = nameOf(url);
  const kept = sha256 ? await openCache() : null;
  const found = await kept?.match(url);
  if (found) {
    const data = new Uint8Array(await found.arrayBuffer());
    if ((await digest(data)) === sha256) {
      progress?.update(file, data.length, data.length);
      return data;
    }
  }
  const response = await request(url);
  const data = await read(response, url, bytes, progress);
  if (sha256 && (await digest(data)) !== sha256) {
    throw new DeviceError(
      "corrupt",
      `${file} is damaged or of another version: its checksum is not ${sha256.slice(0, 12)}. Reload the page; if it stays, publish the file again.`,
    );
  }
  // A browser that is short of space may refuse to keep it; then it is downloaded again next time.
  await kept?.put(url, new Response(data)).catch(() => {});
  return data;
}

/**
 * Fetch a JSON file.
 * @param {string} url
 * @param {{sha256?: string, optional?: boolean}} [options] optional: give null where the server does not have it
 * @returns {Promise<any>}
 * @throws {DeviceError} it cannot be reached, is not there, has another checksum, or is no JSON
 */
export async function fetchJSON(url, { sha256, optional = false } = {}) {
  let data;
  try {
    data = await fetchFile(url, { sha256 });
  } catch (error) {
    if (optional && error instanceof DeviceError && error.reason === "missing") return null;
    throw error;
  }
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    throw new DeviceError("corrupt", `${nameOf(url)} is damaged: it is no JSON. Publish the model again.`);
  }
}

/**
 * @param {string} url
 * @returns {Promise<Response>}
 */
async function request(url) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new DeviceError("network", `${new URL(url).host || "The server"} cannot be reached, so ${nameOf(url)} was not loaded. Check the connection.`);
  }
  if (response.ok) return response;
  const reason = [404, 410, 401, 403].includes(response.status) ? "missing" : "network";
  throw new DeviceError(reason, `${new URL(url).host} does not give ${nameOf(url)} (HTTP ${response.status}). Check the address ${url}.`);
}

/**
 * @param {Response} response
 * @param {string} url
 * @param {number} bytes
 * @param {Progress | undefined} progress
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function read(response, url, bytes, progress) {
  const total = bytes || Number(response.headers.get("content-length")) || 0;
  const parts = [];
  let loaded = 0;
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      const part = /** @type {Uint8Array} */ (value);
      parts.push(part);
      loaded += part.length;
      progress?.update(nameOf(url), loaded, total);
    }
  } catch {
    throw new DeviceError("network", `The download of ${nameOf(url)} broke off after ${loaded} bytes. Check the connection.`);
  }
  const data = new Uint8Array(loaded);
  let start = 0;
  for (const part of parts) {
    data.set(part, start);
    start += part.length;
  }
  return data;
}

/** @returns {Promise<Cache | null>} null where the browser keeps nothing, such as in a private window */
async function openCache() {
  try {
    return await caches.open(CACHE);
  } catch {
    return null;
  }
}

/**
 * @param {Uint8Array<ArrayBuffer>} data
 * @returns {Promise<string>} SHA-256 in hexadecimal
 */
async function digest(data) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} url */
function nameOf(url) {
  return new URL(url).pathname.split("/").at(-1) || url;
}
