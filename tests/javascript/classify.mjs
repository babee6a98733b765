// node classify.mjs MODELS NAME PICTURE: what transformers.js makes of a picture with the model in MODELS/NAME, by dtype.
import { env, pipeline } from "@huggingface/transformers";

const [models, name, picture] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = models;

const scores = {};
for (const dtype of ["fp32", "q8"]) {
  const classify = await pipeline("image-classification", name, { dtype, device: "cpu" });
  const found = await classify(picture, { top_k: 99 });
  scores[dtype] = Object.fromEntries(found.map(({ label, score }) => [label, score]));
}
console.log(JSON.stringify(scores));
