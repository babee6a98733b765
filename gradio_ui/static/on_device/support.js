// What the engine needs of a browser.

import { DeviceError } from "./errors.js";

// A module with one function that uses a vector instruction: (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

/**
 * Tell why this browser cannot run the engine.
 * @returns {DeviceError | null} null where it can
 */
export function unsupported() {
  if (typeof WebAssembly !== "object" || typeof Worker !== "function" || typeof OffscreenCanvas !== "function") {
    return new DeviceError("unsupported", "This browser is too old: it lacks WebAssembly, Web Workers or OffscreenCanvas. Update it.");
  }
  if (!WebAssembly.validate(SIMD)) {
    return new DeviceError("no_simd", "This browser lacks WebAssembly SIMD, without which recognition would be too slow. Update it.");
  }
  if (!globalThis.isSecureContext) {
    return new DeviceError("insecure", "Browsers verify downloads only on pages served over https or from localhost.");
  }
  return null;
}
