// node time_models.mjs ROUNDS FILE...: one face through each ONNX file in onnxruntime-web, WebAssembly, one thread. Every
// round takes the files in random order and measures the processor time of five runs of each, which other work on the
// machine changes little. A ratio is the median over the rounds to the first file.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";

const [rounds, ...files] = process.argv.slice(2);
const [SIDE, RUNS] = [48, 5]; // pixels of the models' input
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
Object.assign(ort.env.wasm, { numThreads: 1 });

const pixels = Float32Array.from({ length: 3 * SIDE * SIDE }, () => 3 * Math.random() - 1.5);
const sessions = [];
for (const file of files) sessions.push(await ort.InferenceSession.create(readFileSync(file), { executionProviders: ["wasm"] }));
const times = files.map(() => []);

async function milliseconds(session) {
  const start = process.cpuUsage();
  for (let run = 0; run < RUNS; run++) await session.run({ pixel_values: new ort.Tensor("float32", pixels, [1, 3, SIDE, SIDE]) });
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000 / RUNS;
}

for (const session of sessions) await milliseconds(session);
for (let round = 0; round < Number(rounds); round++) {
  const order = files.map((_, i) => [Math.random(), i]).sort(([a], [b]) => a - b);
  for (const [, i] of order) times[i].push(await milliseconds(sessions[i]));
}
for (const [i, file] of files.entries()) {
  const ratio = median(times[i].map((value, round) => value / times[0][round]));
  console.log(`${file}: ${median(times[i]).toFixed(2)} ms, ratio ${ratio.toFixed(3)}`);
}
process.exit(0); // onnxruntime-web keeps Node alive
