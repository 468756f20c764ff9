// The model's files, and the network (chapter 05) as onnxruntime-web runs it.

import { Vocab } from './text.js';
import { Entropic } from './sampler.js';

/** The bytes of a file of the page's own folder; `progress` is called with (done, all). */
export async function fetchBytes(url, progress = () => {}) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: the server answers ${answer.status}.`);
  const all = +answer.headers.get('Content-Length'), parts = [], reader = answer.body.getReader();
  let done = 0;
  for (;;) {
    const part = await reader.read();
    if (part.done) break;
    parts.push(part.value);
    done += part.value.length;
    progress(done, all);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** What the sampler needs of a model, but for `predict`. */
export function describe(config, E) { // as scripts/browser.py writes it; table of word vectors
  return {
    vocab: new Vocab(config.words), schedule: new Entropic(config.schedule_args),
    dim: config.dim, most: config.length - 2, dials: config, E,
  };
}

/** The network as a function of latents, times, evidence scales and the last estimate x̂_0. */
export function predictor(ort, session, dim, V) {
  return async (x, times, scale, last) => {
    const n = times.length, row = [1, n];
    const tensor = (data, dims) => new ort.Tensor('float32', Float32Array.from(data), dims);
    const { logp } = await session.run({
      x: tensor(x, [...row, dim]), t: tensor(times, row), scale: tensor(scale, row),
      last: tensor(last ?? new Float32Array(n * dim), [...row, dim]),
      has_last: tensor([last ? 1 : 0], [1]),
    });
    const out = Float32Array.from(logp.data);
    if (out.length !== n * V) throw new Error('The network has another vocabulary.');
    return out;
  };
}

/** The model, ready for `sample`. */
export async function loadModel(ort, folder, progress) { // URL of the folder, with a slash
  const config = JSON.parse(new TextDecoder().decode(await fetchBytes(`${folder}model.json`)));
  const table = await fetchBytes(`${folder}embedding.bin`);
  const model = describe(config, new Float32Array(table.buffer));
  const bytes = await fetchBytes(`${folder}model.onnx`, progress);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
  model.predict = predictor(ort, session, model.dim, model.vocab.words.length);
  return model;
}
