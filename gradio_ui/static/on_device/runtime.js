// onnxruntime-web: where it comes from, and the sessions that run a network.

import { DeviceError, toDeviceError } from "./errors.js";
import { fetchFile } from "./files.js";

/** @typedef {typeof import("onnxruntime-web")} OnnxRuntime */
/** @typedef {import("onnxruntime-web").InferenceSession} Session */
/** @typedef {import("./types.js").Backend} Backend */
/** @typedef {{script: string, wasm: string}} Build */

export const VERSION = "1.31.0-dev.20260914-8d85527a0"; // the one in tests/javascript/package.json
const CDN = `https://cdn.jsdelivr.net/npm/onnxruntime-web@${VERSION}/dist/`;
const MOST_THREADS = 4; // networks this small gain little from more

// The files of a build: JavaScript that holds all it needs but the WebAssembly. JSPI halves the WebAssembly where the
// browser has it.
/** @type {Record<"wasm" | "jspi" | "asyncify", Build>} */
const BUILDS = {
  wasm: { script: "ort.wasm.bundle.min.mjs", wasm: "ort-wasm-simd-threaded.wasm" },
  jspi: { script: "ort.jspi.bundle.min.mjs", wasm: "ort-wasm-simd-threaded.jspi.wasm" },
  asyncify: { script: "ort.webgpu.bundle.min.mjs", wasm: "ort-wasm-simd-threaded.asyncify.wasm" },
};

// SHA-256 and bytes of each.
/** @type {Record<string, {sha256: string, bytes: number}>} */
export const FILES = {
  "ort.wasm.bundle.min.mjs": {
    sha256: "17b52c1ac62b421dc508b4c28b9a9675251c6e25dd512ef54b83a5e2c4242869",
    bytes: 73123,
  },
  "ort-wasm-simd-threaded.wasm": {
    sha256: "06ba057753da3847e4c24f02d91ab133455b0817c69a44993a9a53a2146df9e3",
    bytes: 14264838,
  },
  "ort.jspi.bundle.min.mjs": {
    sha256: "7dc069f7e7b95ad01013ad4ea02b161e410788f183c5dbd2ddc5c5c05d9d85da",
    bytes: 116069,
  },
  "ort-wasm-simd-threaded.jspi.wasm": {
    sha256: "173146c55eb8c7e01f8be3f7b7376fbde14118d91607583ab7caf4feac98e59c",
    bytes: 16811691,
  },
  "ort.webgpu.bundle.min.mjs": {
    sha256: "7c93a51e9906b246af505bbfbfa4e5806ebe70a081ab0ca0d34e1180293f4f8d",
    bytes: 117929,
  },
  "ort-wasm-simd-threaded.asyncify.wasm": {
    sha256: "49871f5a4409519797e127440868a6d1923339d9185907f301a5b2a1d90af082",
    bytes: 26861777,
  },
};

/**
 * Choose what runs the networks.
 * @param {Backend | "auto"} wanted
 * @returns {Promise<Backend>}
 * @throws {DeviceError} WebGPU is wanted and not there
 */
export async function chooseBackend(wanted) {
  if (wanted === "wasm") return "wasm";
  const gpu = /** @type {any} */ (navigator).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  // A software adapter is slower than WebAssembly.
  if (adapter && (wanted === "webgpu" || !adapter.info?.isFallbackAdapter)) return "webgpu";
  if (wanted === "auto") return "wasm";
  throw new DeviceError("no_webgpu", "This browser offers no WebGPU. Use the backend wasm, or auto.");
}

/** onnxruntime-web for one backend. */
export class Runtime {
  /**
   * Use `load`.
   * @param {OnnxRuntime} ort
   * @param {Backend} backend
   */
  constructor(ort, backend) {
    this.ort = ort;
    this.backend = backend;
    this.lost = false;
  }

  /**
   * Load it, verified against the hashes of `VERSION`.
   * @param {Backend} backend
   * @param {{folder?: string | null, progress?: import("./files.js").Progress}} options folder: URL of the dist files;
   *   by default the public CDN
   * @returns {Promise<Runtime>}
   * @throws {DeviceError} a file cannot be reached or has another hash
   */
  static async load(backend, { folder, progress }) {
    const build = BUILDS[backend === "wasm" ? "wasm" : "Suspending" in WebAssembly ? "jspi" : "asyncify"];
    const at = (folder || CDN).replace(/\/?$/, "/");
    const [script, wasm] = await Promise.all(
      [build.script, build.wasm].map((file) => fetchFile(at + file, { ...FILES[file], progress })),
    );
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    try {
      /** @type {OnnxRuntime} */
      const ort = await import(url);
      ort.env.logLevel = "error";
      ort.env.wasm.wasmBinary = wasm.buffer;
      const cores = Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1);
      ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? cores : 1;
      return new Runtime(ort, backend);
    } catch (error) {
      throw toDeviceError(error, "onnxruntime-web cannot be started");
    }
  }

  /**
   * Open a network.
   * @param {Uint8Array} model the bytes of its ONNX file
   * @param {string} name for messages
   * @returns {Promise<Session>}
   * @throws {DeviceError} it cannot be opened
   */
  async open(model, name) {
    try {
      const session = await this.ort.InferenceSession.create(model, {
        executionProviders: [this.backend],
        graphOptimizationLevel: "all",
      });
      await this.#watch();
      return session;
    } catch (error) {
      throw toDeviceError(error, `${name} cannot be opened`);
    }
  }

  /**
   * Run a network.
   * @param {Session} session
   * @param {Record<string, {data: Float32Array, dims: number[]}>} inputs
   * @returns {Promise<Record<string, Float32Array>>}
   * @throws {DeviceError} it cannot be run
   */
  async run(session, inputs) {
    const tensors = Object.fromEntries(
      Object.entries(inputs).map(([name, { data, dims }]) => [name, new this.ort.Tensor("float32", data, dims)]),
    );
    try {
      const outputs = await session.run(tensors);
      return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, /** @type {Float32Array} */ (data)]));
    } catch (error) {
      if (this.lost) throw new DeviceError("gpu_lost", "The graphics processor was lost. Load the recognizer again.");
      throw toDeviceError(error, "The network cannot be run");
    }
  }

  async #watch() {
    if (this.backend !== "webgpu") return;
    const device = await /** @type {any} */ (this.ort.env.webgpu).device;
    device?.lost.then(() => (this.lost = true));
  }
}
