// Every error that the engine raises on purpose.

/**
 * Why the engine cannot go on, as a short code:
 * - "unsupported": the browser lacks something that the engine needs; "no_simd" and "no_webgpu" where it is that;
 * - "insecure": the page was opened neither over https nor from localhost;
 * - "network": a file cannot be reached;
 * - "missing": a server answers that it does not have a file;
 * - "corrupt": a file differs from its SHA-256 checksum, or cannot be read;
 * - "model": the files are not those of an expression classifier that the engine can run;
 * - "memory": the browser gives no more memory;
 * - "gpu_lost": the graphics processor was reset or taken away while the networks were loaded;
 * - "image": an image cannot be read;
 * - "closed": the recognizer was closed.
 * @typedef {"unsupported" | "no_simd" | "no_webgpu" | "insecure" | "network" | "missing" | "corrupt" | "model" |
 *   "memory" | "gpu_lost" | "image" | "closed"} Reason
 */

/** An error whose message is one sentence or two that may be shown to a person as they are. */
export class DeviceError extends Error {
  /**
   * @param {Reason} reason
   * @param {string} message what was expected, what came, what to do
   */
  constructor(reason, message) {
    super(message);
    this.name = "DeviceError";
    this.reason = reason;
  }
}

/**
 * Turn what onnxruntime or the browser threw into a `DeviceError`.
 * @param {unknown} error
 * @param {string} task what was being done, such as "The model cannot be opened"
 * @returns {DeviceError}
 */
export function toDeviceError(error, task) {
  if (error instanceof DeviceError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/bad_alloc|out of memory|could not allocate|allocation failed|Array buffer allocation/i.test(text)) {
    return new DeviceError("memory", `${task}: the browser gives this page no more memory. Close other tabs, then try again.`);
  }
  if (/device (is |was )?lost|device.*(destroyed|invalid)|GPUDevice.*lost/i.test(text)) {
    return new DeviceError("gpu_lost", `${task}: the graphics processor was lost. Load the recognizer again.`);
  }
  return new DeviceError("model", `${task}: ${text}`);
}
