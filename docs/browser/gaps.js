// The size of an open gap (chapter 10b): how probable is the text around it, if the gap is pure
// noise? That is asked for 1, 2, … words, with the same noise and the same times.

import { evidenceScales, meanEmbedding } from './sampler.js';

export const MOST = 10, DRAWS = 12, CHAIN = 200; // words; times of the estimate; steps of the chain

/** Words and gaps with a size each: how many words, and which are given where. */
export function layOut(parts, sizes) { // {word, id} or {gap}; a number a gap
  const given = [], left = [...sizes];
  let n = 0;
  for (const part of parts) {
    if (part.word === undefined) n += left.shift();
    else given.push({ at: n++, ...part });
  }
  return { nWords: n, given };
}

/** The numbers of steps of the estimate, stratified over the chain. */
export const stratified = uniform =>
  Array.from({ length: DRAWS }, (_, k) => Math.floor((k + uniform()) / DRAWS * CHAIN));

/** KL of the step i of the chain at all positions outside the gap, in nats. */
async function contextCost(model, ids, gap, i, noise) { // (n × dim) normal numbers
  const { E, dim, schedule, vocab } = model, V = vocab.words.length;
  const [s, t] = [i, i + 1].map(k => k / CHAIN), x = new Float32Array(ids.length * dim);
  const times = ids.map((_, at) => (gap[at] ? 1 : Math.fround(t)));
  times.forEach((u, at) => {
    const [a, σ] = schedule.coefs(u);
    for (let d = 0; d < dim; d++) {
      x[at * dim + d] = a * E[ids[at] * dim + d] + σ * noise[at * dim + d];
    }
  });
  const scales = evidenceScales(schedule, times);
  const p = (await model.predict(x, times, scales, null)).map(Math.exp);
  const x0 = meanEmbedding(p, V, E, dim);
  const weight = 0.5 * (Math.exp(schedule.logSnr(s)) - Math.exp(schedule.logSnr(t)));
  let sum = 0;
  ids.forEach((id, at) => {
    for (let d = 0; d < dim && !gap[at]; d++) sum += (E[id * dim + d] - x0[at * dim + d]) ** 2;
  });
  return weight * sum;
}

/** log p(context) when gap k has so many words; `noise`: a table of (length + MOST) rows a draw. */
async function contextLogProb(model, parts, sizes, k, steps, noise) {
  const { vocab, dim } = model, { nWords, given } = layOut(parts, sizes);
  const ids = [vocab.start, ...Array(nWords).fill(vocab.unk), vocab.end];
  const gap = ids.map((_, at) => at > 0 && at < ids.length - 1);
  for (const { at, id } of given) [ids[at + 1], gap[at + 1]] = [id, false];
  const left = gap.indexOf(true);
  let sum = 0;
  for (const [j, i] of steps.entries()) { // the noise of a word is the same for all sizes
    const table = noise[j], rest = table.length - (ids.length - left) * dim;
    const own = Float32Array.from([...table.subarray(0, left * dim), ...table.subarray(rest)]);
    sum += await contextCost(model, ids, gap, i, own);
  }
  return -CHAIN * sum / steps.length;
}

/** p(gap k has 1, 2, … words | context), as `gap_size_probs` of the package. */
export async function gapSizeProbs(model, parts, sizes, k, steps, noise, pause = () => null) {
  const counts = model.dials.length_counts, total = counts.reduce((a, b) => a + b, 0);
  const others = layOut(parts, sizes).nWords - sizes[k], out = [];
  for (let n = 1; n <= Math.max(1, Math.min(MOST, model.most - others)); n++) {
    const tried = sizes.with(k, n);
    const prior = Math.max((counts[others + n] ?? 0) / total, 1e-8);
    out.push(await contextLogProb(model, parts, tried, k, steps, noise) + Math.log(prior));
    await pause();
  }
  const high = Math.max(...out), p = out.map(l => Math.exp(l - high));
  const sum = p.reduce((a, b) => a + b, 0);
  return p.map(q => q / sum);
}
