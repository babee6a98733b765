// The size of a network's input, freed: YuNet's published file says 640 x 640, its layers take any multiples of 32.
//
// An ONNX file is a protocol buffer (https://protobuf.dev/programming-guides/encoding): fields of a number, a kind and
// a value. Only the path to the shapes is taken apart; everything else is copied byte by byte.

import { DeviceError } from "./errors.js";

const [GRAPH, INPUT, OUTPUT, VALUE_INFO] = [7, 11, 12, 13]; // of ModelProto and GraphProto
const [TYPE, TENSOR_TYPE, SHAPE, DIM] = [2, 1, 2, 1]; // of ValueInfoProto, TypeProto, TypeProto.Tensor, TensorShapeProto
const NAME = 1; // of ValueInfoProto

/** @typedef {{number: number, kind: number, start: number, value: Uint8Array}} Field start: where its bytes begin */

/**
 * Let a network of images take any height and width.
 * @param {Uint8Array} model the bytes of an ONNX file
 * @returns {{model: Uint8Array<ArrayBuffer>, inputs: string[], outputs: string[]}} the changed file and its names
 * @throws {DeviceError} it is no ONNX file
 */
export function freeSize(model) {
  /** @type {string[]} */
  const inputs = [];
  /** @type {string[]} */
  const outputs = [];
  try {
    const changed = edit(model, GRAPH, (graph) =>
      concatenate(
        [...fields(graph)]
          .filter(({ number }) => number !== VALUE_INFO) // shapes that followed from the fixed size
          .map((field) => {
            const end = field.value.byteOffset - graph.byteOffset + field.value.length;
            const bytes = graph.subarray(field.start, end);
            if (field.number === INPUT) {
              inputs.push(nameOf(field.value));
              return edit(bytes, INPUT, (value) => editShape(value, freeDimensions));
            }
            if (field.number === OUTPUT) {
              outputs.push(nameOf(field.value));
              return edit(bytes, OUTPUT, (value) => editShape(value, null));
            }
            return bytes;
          }),
      ),
    );
    return { model: changed, inputs, outputs };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DeviceError("corrupt", "The face detector's file is no ONNX file. Expected YuNet's.");
  }
}

/**
 * @param {Uint8Array} info a ValueInfoProto
 * @param {((shape: Uint8Array) => Uint8Array) | null} change null drops the shape
 */
function editShape(info, change) {
  return edit(info, TYPE, (type) => edit(type, TENSOR_TYPE, (tensor) => edit(tensor, SHAPE, change)));
}

/**
 * Keep batch and channels, and leave height and width open.
 * @param {Uint8Array} shape a TensorShapeProto
 */
function freeDimensions(shape) {
  let axis = 0;
  return edit(shape, DIM, (dimension) => (axis++ < 2 ? dimension : new Uint8Array()));
}

/** @param {Uint8Array} info a ValueInfoProto */
function nameOf(info) {
  const name = [...fields(info)].find(({ number }) => number === NAME);
  return new TextDecoder().decode(name?.value);
}

/**
 * Change all fields of one number in a message.
 * @param {Uint8Array} message
 * @param {number} number
 * @param {((value: Uint8Array) => Uint8Array) | null} change null drops them
 * @returns {Uint8Array<ArrayBuffer>}
 */
function edit(message, number, change) {
  /** @type {Uint8Array[]} */
  const parts = [];
  for (const field of fields(message)) {
    const end = field.value.byteOffset - message.byteOffset + field.value.length;
    if (field.number !== number) parts.push(message.subarray(field.start, end));
    else if (change) {
      const value = change(field.value);
      parts.push(Uint8Array.from([...varint(number * 8 + 2), ...varint(value.length)]), value);
    }
  }
  return concatenate(parts);
}

/**
 * @param {Uint8Array} message
 * @returns {Generator<Field>}
 * @throws {RangeError} it is no protocol buffer
 */
function* fields(message) {
  let at = 0;
  const next = () => {
    let [value, place] = [0, 1];
    for (;;) {
      if (at >= message.length) throw new RangeError("cut off");
      const byte = message[at++];
      value += (byte & 127) * place; // not shifted: an int64 has more than 32 bits
      if (byte < 128) return value;
      place *= 128;
    }
  };
  while (at < message.length) {
    const start = at;
    const key = next();
    const kind = key % 8;
    let length = kind === 1 ? 8 : kind === 5 ? 4 : 0;
    if (kind === 2) length = next();
    const from = at;
    if (kind === 0) next();
    else if (![1, 2, 5].includes(kind)) throw new RangeError("unknown kind of field");
    at = kind === 0 ? at : from + length;
    if (at > message.length) throw new RangeError("cut off");
    yield { number: Math.floor(key / 8), kind, start, value: message.subarray(from, at) };
  }
}

/** @param {number} value */
function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

/**
 * @param {Uint8Array[]} parts
 * @returns {Uint8Array<ArrayBuffer>}
 */
function concatenate(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
