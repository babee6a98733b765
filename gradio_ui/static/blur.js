// Blurs faces in what is saved, as gradio_ui/views/blur.py does.

const MARGIN = 0.25; // of a face's sides: hair and chin are known, too, and a face moves until its result is there
const BLOCKS = 6; // mean colors that are left of a face's shorter side; they are too few to be undone
const KEPT_MS = 1000; // for which a face stays blurred where it was last found

/** The faces of a live video, of which each stays blurred for a moment after it was lost. */
export class FaceBlur {
  #kept = new Map(); // face -> { box, until }
  #small = document.createElement("canvas");

  /**
   * Replace each face of an image by a blur of a few mean colors.
   * @param {CanvasRenderingContext2D} context of the image
   * @param {{face: number, box: number[]}[]} faces with boxes in its pixels: left, top, right, bottom
   * @param {number} now in milliseconds
   */
  apply(context, faces, now = performance.now()) {
    for (const { face, box } of faces) this.#kept.set(face, { box, until: now + KEPT_MS });
    for (const [face, { box, until }] of this.#kept) {
      if (until < now) this.#kept.delete(face);
      else this.#blur(context, box);
    }
  }

  #blur(context, [left, top, right, bottom]) {
    const [across, down] = [MARGIN * (right - left), MARGIN * (bottom - top)];
    const [x, y, width, height] = [left - across, top - down, right - left + 2 * across, bottom - top + 2 * down];
    const scale = BLOCKS / Math.min(width, height);
    const small = this.#small;
    Object.assign(small, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
    const pen = small.getContext("2d");
    pen.imageSmoothingQuality = "high"; // takes the mean of all pixels, not of the nearest
    pen.drawImage(context.canvas, x, y, width, height, 0, 0, small.width, small.height);
    context.drawImage(small, x, y, width, height);
  }
}
