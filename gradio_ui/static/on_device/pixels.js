// Anything a canvas can draw -> its pixels, on white where it is transparent.

import { DeviceError } from "./errors.js";
import { shrinkByArea } from "./resize.js";

const MAX_PIXELS = 50_000_000;

/** @type {OffscreenCanvas | null} */
let canvas = null;

/**
 * Read an image's pixels; an ImageBitmap or VideoFrame is closed.
 * @param {ImageBitmap | VideoFrame | ImageData} image
 * @param {number} [longSide] pixels to which a larger image is shrunk
 * @returns {import("./types.js").Pixels & {scale: number}} scale: pixels of the image to one of these
 * @throws {DeviceError} it is empty or too large
 */
export function readPixels(image, longSide = Infinity) {
  const isFrame = !(image instanceof ImageData || image instanceof ImageBitmap);
  const [fullWidth, fullHeight] = isFrame ? [image.displayWidth, image.displayHeight] : [image.width, image.height];
  try {
    check(fullWidth, fullHeight);
    const scale = Math.max(1, Math.max(fullWidth, fullHeight) / longSide);
    const [width, height] = [fullWidth, fullHeight].map((side) => Math.max(1, Math.round(side / scale)));
    if (image instanceof ImageData) {
      const pixels = { data: onWhite(image.data), width: fullWidth, height: fullHeight };
      return { ...(scale > 1 ? shrinkByArea(pixels, width, height) : pixels), scale };
    }
    canvas ??= new OffscreenCanvas(width, height);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
    context.imageSmoothingQuality = "medium";
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(image, 0, 0, width, height);
    return { data: context.getImageData(0, 0, width, height).data, width, height, scale };
  } finally {
    if (!(image instanceof ImageData)) image.close();
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
