// P(a phrase occurs) for independent positions, and the token marginals given that it does
// (chapters 09 and 10). The package differentiates log P; here the same comes in closed form:
// p(w_i = w | c) = p_i(w) · P(c | w_i = w) / P(c), by a forward and a backward pass.

const NEVER = -1e9;

/** log(e^a + e^b). */
export function logAdd(a, b) {
  const high = Math.max(a, b);
  return high + Math.log1p(Math.exp(Math.min(a, b) - high));
}

/** Is there a place for one of the phrases? `known`: an id a position, −1 where it is open. */
export function canStand(phrases, known) {
  return phrases.some(phrase => known.some((_, at) => at + phrase.length <= known.length
    && phrase.every((w, k) => known[at + k] === -1 || known[at + k] === w)));
}

const startsWith = (list, head) => head.every((w, k) => list[k] === w);
const endsWith = (list, tail) =>
  tail.length <= list.length && startsWith(list.slice(list.length - tail.length), tail);

/** The words of the phrases, and where each leads from each state; the last column: other words. */
export function automaton(phrases) { // lists of ids
  const words = [...new Set(phrases.flat())];
  const heads = phrases.flatMap(p => p.map((_, k) => p.slice(0, k)));
  const states = [...new Map(heads.map(h => [h.join(), h])).values()];
  const number = new Map(states.map((h, k) => [h.join(), k]));
  const after = read => { // the state, a number; the last is `found`
    if (phrases.some(p => endsWith(read, p))) return states.length;
    for (let k = 0; ; k++) {
      const rest = read.slice(k).join();
      if (number.has(rest)) return number.get(rest);
    }
  };
  return { words, leads: states.map(s => [...words.map(w => after([...s, w])), 0]) };
}

/** log p of each word of the automaton at each position, and last of any other word. */
function wordLogProbs(logp, V, words) {
  const rows = [];
  for (let at = 0; at < logp.length; at += V) {
    const said = words.map(w => Math.max(logp[at + w], -1e4));
    const sum = said.reduce((total, l) => total + Math.exp(l), 0);
    rows.push([...said, Math.log1p(-Math.min(sum, 1 - 1e-7))]);
  }
  return rows;
}

/** Backward: log P(found later | state, from position i on); the last state is `found`. */
function backward(rows, leads) {
  const S = leads.length, out = [[...Array(S).fill(NEVER), 0]];
  for (const row of [...rows].reverse()) {
    const next = out[0];
    const now = leads.map(to => to.reduce((sum, s, w) => logAdd(sum, row[w] + next[s]), NEVER));
    out.unshift([...now, 0]);
  }
  return out;
}

/** Forward: log P(state before position i), `found` included. */
function forward(rows, leads) {
  const S = leads.length, out = [[0, ...Array(S).fill(NEVER)]];
  for (const row of rows) {
    const old = out.at(-1), now = Array(S + 1).fill(NEVER);
    now[S] = old[S];
    leads.forEach((to, s) => to.forEach((next, w) => {
      now[next] = logAdd(now[next], old[s] + row[w]);
    }));
    out.push(now);
  }
  return out;
}

/** log P(one of the phrases occurs); and log P(so | the word of position i is w), a function. */
export function phraseLogProb(logp, V, phrases) { // (length × V) log p_i(w); lists of ids
  const { words, leads } = automaton(phrases), rows = wordLogProbs(logp, V, words);
  const before = forward(rows, leads), later = backward(rows, leads), S = leads.length;
  const column = new Map(words.map((w, k) => [w, k]));
  const ways = rows.map((_, i) => [...words, null].map((_, w) => leads.reduce(
    (sum, to, s) => logAdd(sum, before[i][s] + later[i + 1][to[w]]), before[i][S])));
  return { logP: before.at(-1)[S], given: (i, w) => ways[i][column.get(w) ?? words.length] };
}

/** Token marginals given that a phrase occurs and none to be avoided does, (length × V). */
export function phrasePosterior(logp, V, { phrases, avoid }) { // log p_i(w), −∞ where it cannot be
  const some = phraseLogProb(logp, V, avoid.length ? [...phrases, ...avoid] : phrases);
  let denied = avoid.length ? phraseLogProb(logp, V, avoid) : null;
  if (denied && denied.logP - some.logP > -1e-6) denied = null; // nothing is left between them
  const less = denied ? Math.exp(denied.logP - some.logP) : 0; // shares of P(some)
  const out = new Float32Array(logp.length);
  for (let at = 0, i = 0; at < logp.length; at += V, i++) {
    let total = 0;
    for (let w = 0; w < V; w++) {
      if (logp[at + w] === -Infinity) continue;
      let ratio = Math.exp(some.given(i, w) - some.logP);
      if (denied) ratio -= Math.exp(denied.given(i, w) - some.logP);
      const q = Math.exp(logp[at + w]) * Math.max(0, ratio / (1 - less));
      out[at + w] = q;
      total += q;
    }
    for (let w = 0; w < V; w++) out[at + w] = total > 0 ? out[at + w] / total
      : Math.exp(logp[at + w]);
  }
  return out;
}
