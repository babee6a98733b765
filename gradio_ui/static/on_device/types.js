// The types that the modules pass to each other. There is no code here.

/**
 * An image as a canvas gives it.
 * @typedef {object} Pixels
 * @property {Uint8ClampedArray | Uint8Array} data RGBA, row by row; alpha is ignored
 * @property {number} width in pixels
 * @property {number} height in pixels
 */

/**
 * A face as the detector finds it.
 * @typedef {object} Face
 * @property {number[]} box left, top, right, bottom in pixels; may reach beyond the image
 * @property {number} confidence the detector's own, 0-1
 * @property {number[][] | null} landmarks five points in pixels: right eye, left eye, nose tip, right and left corner of
 *   the mouth ("right" is the person's right); null where there is no detector
 */

/**
 * A face of one image with its apparent expression.
 * @typedef {Face & {label: string, probabilities: Record<string, number>}} RecognizedFace
 */

/**
 * The result for one image.
 * @typedef {object} Recognition
 * @property {number} width of the image in pixels
 * @property {number} height of the image in pixels
 * @property {RecognizedFace[]} faces largest first
 * @property {number} milliseconds from the worker's receipt of the image to the result
 */

/**
 * A face of a live frame, as the server's live mode describes it.
 * @typedef {object} TrackedFace
 * @property {number} face the stable id, counted from 1
 * @property {number[]} box left, top, right, bottom in pixels of the frame, rounded to 0.1
 * @property {number} confidence the detector's, 0-1
 * @property {string} label the most probable one; another must lead clearly before it changes
 * @property {boolean} unclear whether the label's probability is below the threshold
 * @property {string} shown the label, or the two most probable ones as "happy or fear" where it is unclear
 * @property {Record<string, number>} probabilities smoothed, by label
 * @property {Record<string, number>} raw of this frame alone, by label
 */

/**
 * The result for one live frame; `late` where a newer frame came first.
 * @typedef {{faces: TrackedFace[], labels: string[], milliseconds: number} | {late: true}} Tracked milliseconds: from the
 *   worker's receipt of the frame to the result
 */

/** @typedef {"webgpu" | "wasm"} Backend */
/** @typedef {"float32" | "int8"} Precision */
/** @typedef {(progress: {loaded: number, total: number, file: string}) => void} OnProgress */

/**
 * What `EmotionRecognizer.load` takes.
 * @typedef {object} LoadOptions
 * @property {string | URL} model folder as on the Hub: config.json, preprocessor_config.json, onnx/model.onnx and
 *   perhaps onnx/model_quantized.onnx and report.json, whose checksums are then verified
 * @property {string | URL} [detector] YuNet's ONNX file; by default the one on the Hub, at a pinned revision
 * @property {string | URL} [runtime] folder with onnxruntime-web's dist files; by default the pinned version on the
 *   public CDN. Either way they are verified against the hashes of that version
 * @property {Precision | "auto"} [precision] by default int8 with WebAssembly where the model has it, otherwise float32
 * @property {Backend | "auto"} [backend] by default WebGPU where the browser has it, otherwise WebAssembly, with which the
 *   engine also goes on where the graphics processor is lost
 * @property {Record<string, string>} [checksums] path in the model folder, or "detector" -> SHA-256 in hexadecimal
 * @property {OnProgress} [onProgress] called with the bytes of all files so far and the file that they are of
 */

export {};
