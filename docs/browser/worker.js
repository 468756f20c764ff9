// Runs the models beside the page, so that the page stays alive. Messages in: {kind: 'load',
// model}, {kind: 'write', model, run, request, steps, seed, noise} and {kind: 'stop'}; out: {kind:
// 'loading' | 'ready' | 'step' | 'done' | 'failed', …}. `run` is a number that comes back with
// every answer.

import * as ort from './ort/ort.wasm.min.mjs';
import { loadModel } from './model.js';
import { gapSizeProbs, layOut, stratified, DRAWS, MOST } from './gaps.js';
import { Random, draw, lengthProbs } from './noise.js';
import { canStand } from './phrase.js';
import { knownTokens, sample } from './sampler.js';
import { NO_PLACE } from './text.js';

ort.env.wasm.numThreads = 1; // threads need headers that a plain server does not send
ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;

let current = 0; // the run that may go on
const tell = (kind, more) => postMessage({ kind, ...more });
const pause = () => new Promise(go => setTimeout(go)); // lets a message in
const models = new Map();

/** The model of this name, a promise; it is fetched once. */
function ready(name) {
  if (!models.has(name)) {
    const folder = new URL(`./model/${name}/`, import.meta.url).href;
    const progress = (done, all) => tell('loading', { model: name, done, all });
    const found = loadModel(ort, folder, progress);
    found.then(() => tell('ready', { model: name }), () => models.delete(name));
    models.set(name, found);
  }
  return models.get(name);
}

/** The numbers of a file one after the other, where the generator's would stand. */
function replay(numbers) {
  let at = 0;
  return n => numbers.subarray(at, at += n);
}

/** The request with a size for each gap: open ones are drawn, given the text around them. */
async function sized({ parts, sizes, ...request }, model, random, run) {
  const most = model.most - layOut(parts, sizes.map(n => n ?? 1)).nWords;
  const now = sizes.map(n => n ?? (most < 3 * sizes.length ? 1 : 3));
  const noise = Array.from({ length: DRAWS },
    () => random.normals((model.most + 2 + MOST) * model.dim));
  const steps = stratified(() => random.uniform());
  for (const [k, size] of sizes.entries()) {
    if (size !== null) continue;
    tell('sizes', { run });
    const probs = await gapSizeProbs(model, parts, now, k, steps, noise, pause);
    now[k] = 1 + draw(probs, random.uniform());
    if (run !== current) return null;
  }
  return { ...request, ...layOut(parts, now) };
}

/** Write one text, and tell each step. */
async function write({ model: name, run, request, steps, seed, noise }) {
  const model = await ready(name), random = new Random(seed), { phrase } = request;
  if (request.parts) request = await sized(request, model, random, run);
  if (!request) return tell('done', { run, stopped: true });
  const least = phrase ? Math.min(...phrase.phrases.map(p => p.length)) : 1;
  const nWords = request.nWords
    ?? draw(lengthProbs(model.dials.length_counts, least), random.uniform());
  if (phrase && !canStand(phrase.phrases, knownTokens({ ...request, nWords }, model.vocab))) {
    throw new Error(NO_PLACE);
  }
  const numbers = noise ? replay(noise) : n => random.normals(n);
  const began = performance.now();
  let step = 0, words = [];
  for await (const now of sample(model, { ...request, nWords }, steps, numbers)) {
    if (run !== current) return tell('done', { run, stopped: true });
    words = now.words;
    tell('step', { run, step: step++, t: now.t, words });
    await pause();
  }
  const text = words.map(w => w.word).join(' ');
  tell('done', { run, text, seconds: (performance.now() - began) / 1000 });
}

onmessage = ({ data }) => {
  if (data.kind !== 'load') current = data.kind === 'write' ? data.run : 0;
  const work = { load: () => ready(data.model), write: () => write(data) }[data.kind];
  work?.().catch(e => tell('failed', { run: data.run ?? 0, said: String(e.message ?? e) }));
};
