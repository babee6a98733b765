// Anything a canvas can draw -> its pixels, on white where it is transparent.

import { DeviceError } from "./errors.js";

const MAX_PIXELS = 50_000_000;

/** @type {OffscreenCanvas | null} */
let canvas = null;

/**
 * Read an image's pixels; an ImageBitmap or VideoFrame is closed.
 * @param {ImageBitmap | VideoFrame | ImageData} image
 * @returns {import("./types.js").Pixels}
 * @throws {DeviceError} it is empty or too large
 */
export function readPixels(image) {
  if (image instanceof ImageData) {
    check(image.width, image.height);
    return { data: onWhite(image.data), width: image.width, height: image.height };
  }
  const [width, height] =
    image instanceof ImageBitmap ? [image.width, image.height] : [image.displayWidth, image.displayHeight];
  try {
    check(width, height);
    canvas ??= new OffscreenCanvas(width, height);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  } finally {
    image.close();
  }
}

/**
 * @param {number} width
 * @param {number} height
 */
function check(width, height) {
  if (!width || !height) throw new DeviceError("image", "The image is empty. Expected one that is loaded.");
  if (width * height > MAX_PIXELS) {
    throw new DeviceError("image", `The image has ${Math.round((width * height) / 1e6)} megapixels. The limit is ${MAX_PIXELS / 1e6}; make it smaller first.`);
  }
}

/** @param {Uint8ClampedArray} data RGBA, alpha not yet multiplied */
function onWhite(data) {
  let opaque = true;
  for (let i = 3; opaque && i < data.length; i += 4) opaque = data[i] === 255;
  if (opaque) return data;
  return data.map((value, i) => {
    const alpha = data[i | 3];
    return i % 4 === 3 ? 255 : (value * alpha + 255 * (255 - alpha)) / 255;
  });
}
