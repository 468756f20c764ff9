// The sampling loop of chapter 07b for one text: noise schedule (02), solver (07), guidance (09).
// Tables are flat arrays: the latents x have n rows of `dim`, log p has n rows of V numbers.

import { phrasePosterior } from './phrase.js';

const sigmoid = u => 1 / (1 + Math.exp(-u));

/** γ = μ − s·logit(u), u linear in t (chapter 02): log of the signal-to-noise ratio. */
export class Entropic {
  constructor({ mu, s, hi, lo }) {
    Object.assign(this, { mu, s });
    [this.u0, this.u1] = [hi, lo].map(g => sigmoid((mu - g) / s));
  }

  logSnr(t) {
    const u = this.u0 + (this.u1 - this.u0) * t;
    return this.mu - this.s * (Math.log(u) - Math.log1p(-u));
  }

  /** √ᾱ and √(1−ᾱ). */
  coefs(t) {
    const γ = this.logSnr(t);
    return [Math.sqrt(sigmoid(γ)), Math.sqrt(sigmoid(-γ))];
  }
}

/** The times of a run, steps + 1 float32 numbers from 1 down to 0, as torch.linspace has them. */
export function timeGrid(steps) {
  const Δ = Math.fround(-1 / steps), half = (steps + 1) / 2;
  const at = i => (i < half ? 1 + Δ * i : -Δ * (steps - i));
  return Float32Array.from({ length: steps + 1 }, (_, i) => at(i));
}

/** Variance of the ancestral step, the posterior of chapter 02: (1−ᾱ_s)(1 − SNR_t/SNR_s). */
export function leastVariance(s, t, schedule) {
  const γs = schedule.logSnr(s), γt = schedule.logSnr(t);
  return sigmoid(-γs) * -Math.expm1(γt - γs);
}

/** One step of `Renoise` (chapter 07) from time t to s, for the numbers of one position. */
export function renoise(x, x0, s, t, schedule, share, noise) {
  const [a, σ] = schedule.coefs(t), [as, σs] = schedule.coefs(s);
  const least = leastVariance(s, t, schedule);
  const fresh = share === null ? 0 : least + share * (σs ** 2 - least); // null: DDIM, no noise
  const kept = Math.sqrt(Math.max(0, σs ** 2 - fresh)) / σ, deviation = Math.sqrt(fresh);
  return x.map((u, d) => as * x0[d] + kept * (u - a * x0[d]) + deviation * noise[d]);
}

/** Each row of V numbers so shifted that its exponentials sum to 1; in place. */
export function logSoftmax(rows, V) {
  for (let at = 0; at < rows.length; at += V) {
    const row = rows.subarray(at, at + V);
    let high = -Infinity, sum = 0;
    for (const u of row) if (u > high) high = u;
    for (const u of row) sum += Math.exp(u - high);
    const shift = high + Math.log(sum);
    for (let w = 0; w < V; w++) row[w] -= shift;
  }
  return rows;
}

/** The marginals to the power 1/temperature at times up to `below` (chapter 07); in place. */
export function cool(logp, V, times, { temperature, below }) {
  times.forEach((t, i) => {
    if (t > Math.fround(below)) return; // t is float32, and so is the limit in the package
    const row = logp.subarray(i * V, (i + 1) * V);
    for (let w = 0; w < V; w++) row[w] /= temperature;
    logSoftmax(row, V);
  });
  return logp;
}

/** What may stand where (chapter 07b): known tokens at their places, else no special token. */
export function allow(logp, V, known, vocab) { // known: an id or −1 a position; in place
  const special = [vocab.start, vocab.end, vocab.unk, vocab.pad];
  known.forEach((id, i) => {
    const row = logp.subarray(i * V, (i + 1) * V);
    if (id < 0) for (const w of special) row[w] = -Infinity;
    else row.fill(-Infinity), row[id] = 0;
  });
  return logSoftmax(logp, V);
}

/** x̂_0 = Σ p(w) Emb(w), (n × dim) (chapter 05). */
export function meanEmbedding(p, V, E, dim) {
  const out = new Float32Array(p.length / V * dim), sum = new Float64Array(dim);
  for (let i = 0; i * V < p.length; i++) {
    sum.fill(0);
    for (let w = 0; w < V; w++) {
      const share = p[i * V + w];
      if (share > 0) for (let d = 0; d < dim; d++) sum[d] += share * E[w * dim + d];
    }
    out.set(sum, i * dim);
  }
  return out;
}

/** A token id a position, START and END included; −1 where it is open. */
export function knownTokens({ nWords, given }, vocab) {
  const known = [vocab.start, ...Array(nWords).fill(-1), vocab.end];
  for (const { at, id } of given) known[at + 1] = id;
  return known;
}

/** Given words are clean: their latents are their vectors (chapter 10b); in place. */
export function putContext(x, given, E, dim) {
  for (const { at, id } of given) {
    x.set(E.subarray(id * dim, (id + 1) * dim), (at + 1) * dim);
  }
  return x;
}

/** The likeliest word of each position with its probability, and the runners-up. */
export function readOff(logp, V, { nWords, given }, vocab, others = 3) {
  const written = new Map(given.map(g => [g.at, g.word]));
  return Array.from({ length: nWords }, (_, i) => {
    if (written.has(i)) return { word: written.get(i), p: 1, rest: [] };
    const row = logp.subarray((i + 1) * V, (i + 2) * V), best = [];
    for (let w = 0; w < V; w++) {
      if (best.length > others && row[w] <= row[best.at(-1)]) continue;
      const place = best.findIndex(b => row[w] > row[b]);
      best.splice(place < 0 ? best.length : place, 0, w);
      best.length = Math.min(best.length, others + 1);
    }
    const [first, ...rest] = best.map(w => [vocab.words[w], Math.exp(row[w])]);
    return { word: first[0], p: first[1], rest: rest.filter(([, p]) => p >= 0.005) };
  });
}

/** One step of the solver at all positions, then the given words in their places. */
function solve(x, x0, now, then, { schedule, share, dim, E }, given, noise) {
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += dim) {
    const part = u => u.subarray(at, at + dim);
    out.set(renoise(part(x), part(x0), then, now, schedule, share, part(noise)), at);
  }
  return putContext(out, given, E, dim);
}

/** a/σ² at each time, of log N(x_t; √ᾱ Emb(w), (1−ᾱ)I) = a/σ² x·Emb(w) + constant (chapter 05). */
export const evidenceScales = (schedule, times) => times.map(t => {
  const [a, σ] = schedule.coefs(t);
  return a / σ ** 2;
});

/** Token marginals at time t, cooled, with what is known and what the phrase asks for. */
async function marginals(model, x, t, last, request, known, dials) {
  const V = model.vocab.words.length, clean = new Set(request.given.map(g => g.at + 1));
  const times = known.map((_, i) => (clean.has(i) ? 0 : t));
  const logp = await model.predict(x, times, evidenceScales(model.schedule, times), last);
  if (logp.some(Number.isNaN)) throw new Error('The network gives numbers that are not finite.');
  if (dials) cool(logp, V, times, dials);
  return allow(logp, V, known, model.vocab);
}

/** Share of fresh noise, and what cools; a student's free texts have neither (chapter 17d). */
export function solverOf(dials, steered) {
  if (dials.free_solver === 'ddim' && !steered) return { share: null, cooling: null };
  return { share: steered ? dials.steered_share : dials.share, cooling: dials };
}

/** Yield `{t, x, words, sure}` from noise to text; the last words are the text. */
export async function* sample(model, request, steps, noise) { // noise: n -> n normal numbers
  const { vocab, E, dim, dials } = model, V = vocab.words.length, ts = timeGrid(steps);
  const known = knownTokens(request, vocab), { given, phrase } = request;
  const { share, cooling } = solverOf(dials, phrase !== null);
  let x = putContext(noise(known.length * dim), given, E, dim), x0 = null;
  for (let k = 0; k < steps; k++) {
    const logp = await marginals(model, x, ts[k], x0, request, known, cooling);
    const p = phrase ? phrasePosterior(logp, V, phrase) : logp.map(Math.exp);
    x0 = meanEmbedding(p, V, E, dim);
    yield { t: ts[k], x, words: readOff(p.map(Math.log), V, request, vocab) };
    x = solve(x, x0, ts[k], ts[k + 1], { ...model, share }, given, noise(x.length));
  }
  const logp = await marginals(model, x, 0, x0, request, known, null); // the rounding step
  yield { t: 0, x, words: readOff(logp, V, request, vocab) };
}
