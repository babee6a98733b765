// The camera: how it is opened and let go, its next frame, and what to say where there is none.

export const REASONS = {
  NotAllowedError: "The camera was refused. Allow it for this page in the address bar, then start again.",
  NotFoundError: "No camera was found. Plug one in, then start again.",
  OverconstrainedError: "This camera is not there any more. Choose another one, then start again.",
  NotReadableError: "The camera is busy. Close the other program that uses it, then start again.",
  AbortError: "The camera did not start. Try again.",
  insecure: "Browsers give the camera only to pages served over https or from localhost.",
  unplugged: "The camera was unplugged or taken by another program. Plug it in, then start again.",
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
    ...named.map((d, i) => new Option(d.label || `Camera ${i + 1}`, d.deviceId, false, d.deviceId === current)),
  );
}
