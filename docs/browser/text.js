// Words and ids (chapter 01), a text with gaps (chapter 10b), words of a phrase (chapter 10).

/** What a reader typed cannot be done; the message says what is wrong and what to do. */
export class InputError extends Error {}

/** Said where a phrase cannot stand beside the words that are given. */
export const NO_PLACE = 'There is no place for the phrase in this text; ask for more words, or'
  + ' for a larger gap.';

const UNSEEN = /[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g; // marks of direction

/** The same text in Unicode's composed form, without marks of direction. */
export const normal = text => text.replace(UNSEEN, '').normalize('NFC');

/** A list of tokens, special tokens first; the position of a token is its id. */
export class Vocab {
  constructor(words) { // START, END, UNK, PAD, and then the words
    this.words = words;
    this.ids = new Map(words.map((w, i) => [w, i]));
    [this.start, this.end, this.unk, this.pad] = [0, 1, 2, 3];
    this.folded = new Map();
    for (const w of words.slice(4)) {
      if (!this.folded.has(w.toLowerCase())) this.folded.set(w.toLowerCase(), w); // most frequent
    }
  }

  /** The word's id; UNK for one outside the vocabulary, or spelt like a special token. */
  idOf(word) {
    const i = this.ids.get(word) ?? this.ids.get(normal(word)) ?? this.unk;
    return i > this.pad ? i : this.unk;
  }

  has(word) { return this.idOf(word) !== this.unk; }

  /** The id of a reader's word; if need be in lower case or with plain quotation marks. */
  known(word) {
    const lower = normal(word).toLowerCase();
    const plain = lower.replaceAll('’', "'").replaceAll('"', "''").replaceAll('``', "''");
    const found = [word, lower, plain].find(w => this.has(w));
    return found === undefined ? this.unk : this.idOf(found);
  }
}

// A word ends at a space or a sign; 's and the like stand alone, and £20-25 is £ 20- 25.
const TOKEN = new RegExp([
  "['’](?:s|t|re|ve|ll|d|m)(?![\\p{L}\\p{N}_])",
  "(?<=\\p{L}\\p{M}*)['’]\\p{L}[\\p{L}\\p{M}]*",
  '[\\p{L}\\p{N}_][\\p{L}\\p{N}\\p{M}_]*-(?=\\s?£|\\s)',
  '(?<!\\S)-[\\p{L}\\p{N}_][\\p{L}\\p{N}\\p{M}_]*',
  '(?<![\\p{L}\\p{N}_])(?:St|Mr|Mrs|Dr)\\.',
  '\\p{N}+(?:[.,]\\p{N}+)+',
  '[\\p{L}\\p{N}_][\\p{L}\\p{N}\\p{M}_]*',
  '\\.{2,}', '-{2,}', '\\S\\p{M}*',
].join('|'), 'giu');

/** The words of a text, split as in the tokenised E2E corpus. */
export const tokenise = text => normal(text).match(TOKEN) ?? [];

const splitWords = text => text.trim().split(/\s+/u).filter(w => w);

/** The words of a text: between spaces; a piece that the model does not know is split further. */
export function readWords(text, vocab) {
  return splitWords(text).flatMap(piece => {
    if (piece.startsWith('___') || vocab.has(piece)) return [piece];
    const parts = tokenise(piece);
    return parts.every(w => vocab.has(w)) ? parts : [piece];
  });
}

/** How many letters must be changed, put in or left out to make b of a. */
export function editDistance(a, b) {
  let row = [...b, ''].map((_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(same, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}

/** Up to three words of the vocabulary that are spelt much like this one. */
export function nearWords(word, vocab) {
  const wanted = word.toLowerCase().slice(0, 40);
  return [...vocab.folded]
    .map(([lower, w]) => [editDistance(wanted, lower), w])
    .filter(([d]) => d <= Math.max(1, Math.floor(wanted.length / 2.5)))
    .sort((a, b) => a[0] - b[0]).slice(0, 3).map(([, w]) => w);
}

function unknownWord(word, vocab) {
  const near = nearWords(word, vocab);
  const said = near.length ? `; similar words: ${near.join(', ')}` : '';
  return new InputError(`“${word.slice(0, 40)}” is a word that the model does not know, so that it `
    + `cannot write it${said}.`);
}

/** The ids of a phrase, in the letters that the vocabulary has. */
export function readPhrase(text, vocab) {
  const words = readWords(text, vocab);
  if (!words.length) throw new InputError('The phrase is empty; write a word or two.');
  return words.map(w => {
    const spelt = vocab.has(w) ? w : vocab.folded.get(normal(w).toLowerCase());
    if (spelt === undefined) throw unknownWord(w, vocab);
    return vocab.idOf(spelt);
  });
}

const GAP = /^___\{(\d+)\}$/;

function gapSize(piece) { // null: the model shall choose
  const found = GAP.exec(piece);
  if (piece === '___') return null;
  if (found && +found[1] >= 1) return +found[1];
  const what = `“${piece.slice(0, 40)}” is no gap`;
  throw new InputError(`${what}; write ___{3} for three words, or ___ for 1 to 10 words, with`
    + ' spaces around it.');
}

/** A text with gaps: its words and gaps in a row, and which words are unknown. */
export function readGaps(text, vocab, most) { // most: words that the model can write
  const parts = readWords(text, vocab).map(piece => (piece.startsWith('___')
    ? { gap: gapSize(piece) } : { word: piece, id: vocab.known(piece) }));
  const n = parts.reduce((sum, p) => sum + (p.word === undefined ? p.gap ?? 1 : 1), 0);
  const unknown = parts.filter(p => p.id === vocab.unk).map(p => p.word);
  if (parts.every(p => p.word !== undefined)) {
    throw new InputError('There is no gap in the text; write ___{3} where three words are wanted.');
  }
  if (n > most) throw new InputError(`The text and its gaps are ${n} words; the model writes 1`
    + ` to ${most}.`);
  return { parts, sizes: parts.filter(p => p.word === undefined).map(p => p.gap), unknown };
}
