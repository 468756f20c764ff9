// Seeded random numbers: xoshiro128** (Blackman and Vigna 2018), Box and Muller's normal numbers.
// The package draws with torch; a seed gives another text there than here.

/** Four whole numbers of 32 bits for a seed: the generator's first state (MurmurHash3's mixer). */
export function seedState(seed) {
  let z = seed >>> 0;
  return [0, 0, 0, 0].map(() => {
    z = (z + 0x9e3779b9) >>> 0;
    let u = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    u = Math.imul(u ^ (u >>> 13), 0xc2b2ae35);
    return (u ^ (u >>> 16)) >>> 0;
  });
}

const rotate = (u, k) => (u << k) | (u >>> (32 - k));

/** A stream of random numbers that depends on the seed alone. */
export class Random {
  constructor(seed) {
    this.state = seedState(seed);
    this.spare = null;
  }

  /** The next whole number of 32 bits. */
  next() {
    const s = this.state;
    const out = Math.imul(rotate(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 11);
    return out;
  }

  /** A number in (0, 1). */
  uniform() { return (this.next() + 0.5) / 2 ** 32; }

  /** A standard normal number; two come from one pair of uniform ones. */
  normal() {
    if (this.spare !== null) {
      const z = this.spare;
      this.spare = null;
      return z;
    }
    const r = Math.sqrt(-2 * Math.log(this.uniform())), angle = 2 * Math.PI * this.uniform();
    this.spare = r * Math.sin(angle);
    return r * Math.cos(angle);
  }

  /** So many standard normal numbers, float32. */
  normals(n) { return Float32Array.from({ length: n }, () => this.normal()); }
}

/** Probabilities of 0, 1, 2 … words: as often as in training, at least `least` (chapter 07b). */
export function lengthProbs(counts, least) {
  const p = counts.map((c, n) => (n < least ? 0 : c));
  const total = p.reduce((a, b) => a + b, 0);
  if (total === 0) return counts.map((_, n) => (n === Math.min(least, counts.length - 1) ? 1 : 0));
  return p.map(c => c / total);
}

/** The number whose share of [0, 1] the number u falls in. */
export function draw(probs, u) {
  let sum = 0;
  const found = probs.findIndex(p => (sum += p) > u);
  return found < 0 ? probs.length - 1 : found;
}
