// The camera: how it is opened and let go, its next frame, and what to say where there is none.

import { t } from "./i18n.js";

// Keys of texts.
export const REASONS = {
  NotAllowedError: "error.camera_refused",
  NotFoundError: "error.camera_missing",
  OverconstrainedError: "error.camera_gone",
  NotReadableError: "error.camera_busy",
  AbortError: "error.camera_start",
  insecure: "error.camera_insecure",
  unplugged: "error.camera_unplugged",
};

/**
 * Open a camera.
 * @param {string} choice "user", "environment" or the id of a device
 * @param {number} height in pixels, as near as the camera can
 * @returns {Promise<MediaStream>}
 * @throws {DOMException} its name is a key of `REASONS`
 */
export function openCamera(choice, height) {
  if (!navigator.mediaDevices) return Promise.reject(new DOMException("", "insecure"));
  const which = ["user", "environment"].includes(choice) ? { facingMode: choice } : { deviceId: { exact: choice } };
  const width = Math.round((height * (height > 480 ? 16 : 12)) / 9);
  const video = { ...which, width: { ideal: width }, height: { ideal: height } };
  return navigator.mediaDevices.getUserMedia({ video, audio: false });
}

/** @param {MediaStream | null | undefined} stream */
export function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** The next frame; in a hidden page none comes, so nothing is done. Firefox before 132 lacks the callback. */
export function nextFrame(video) {
  return new Promise((done) =>
    video.requestVideoFrameCallback ? video.requestVideoFrameCallback(done) : requestAnimationFrame(done),
  );
}

/**
 * Offer the cameras by name, which the browser tells once it has granted one; until then the choice is front or rear.
 * @param {HTMLSelectElement} list
 * @param {string} current id of the device in use
 */
export async function listCameras(list, current) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const named = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
  if (!named.length) return;
  list.replaceChildren(
    ...named.map((d, i) => new Option(d.label || t("cam.camera_number", { number: i + 1 }), d.deviceId, false, d.deviceId === current)),
  );
}
