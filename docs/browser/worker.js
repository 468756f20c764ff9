// Runs the model beside the page, so that the page stays alive. Messages in: {kind: 'write', run,
// request, steps, seed, noise} and {kind: 'stop'}; out: {kind: 'loading' | 'ready' | 'step' |
// 'done' | 'failed', …}. `run` is a number that comes back with every answer.

import * as ort from './ort/ort.wasm.min.mjs';
import { loadModel } from './model.js';
import { Random, draw, lengthProbs } from './noise.js';
import { sample } from './sampler.js';

ort.env.wasm.numThreads = 1; // threads need headers that a plain server does not send
ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;

let current = 0; // the run that may go on
const tell = (kind, more) => postMessage({ kind, ...more });
const pause = () => new Promise(go => setTimeout(go)); // lets a message in
const ready = loadModel(ort, new URL('./model/', import.meta.url).href,
  (done, all) => tell('loading', { done, all }));
ready.then(() => tell('ready', {}), e => tell('failed', { run: 0, said: String(e.message ?? e) }));

/** The numbers of a file one after the other, where the generator's would stand. */
function replay(numbers) {
  let at = 0;
  return n => numbers.subarray(at, at += n);
}

/** Write one text, and tell each step. */
async function write({ run, request, steps, seed, noise }) {
  const model = await ready, random = new Random(seed), { phrase } = request;
  const least = phrase ? Math.min(...phrase.phrases.map(p => p.length)) : 1;
  const nWords = request.nWords
    ?? draw(lengthProbs(model.dials.length_counts, least), random.uniform());
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
  current = data.kind === 'write' ? data.run : 0;
  if (data.kind !== 'write') return;
  write(data).catch(e => tell('failed', { run: data.run, said: String(e.message ?? e) }));
};
