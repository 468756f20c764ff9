// The form, and the text as the steps run: words in fixed columns, as in appendix Fb. All words go
// into the page as text, never as markup.

import { InputError, NO_PLACE, Vocab, readGaps, readPhrase } from './text.js';
import { layOut } from './gaps.js';
import { canStand } from './phrase.js';
import { knownTokens } from './sampler.js';

const find = id => document.getElementById(id);
const field = name => find(name).value;
const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
const loaded = new Set(); // names of models
let config = null, vocab = null, run = 0, rows = [], notice = '', pointed = null;

/** Say one line; `wrong`: it is a complaint. */
function say(text, wrong = false) {
  find('status').textContent = text;
  find('status').classList.toggle('wrong', wrong);
}

/** A whole number that stands in a field; a complaint unless it lies between two others. */
function wholeNumber(name, what, least, most) {
  const n = Number(field(name));
  if (field(name) === '' || !Number.isInteger(n) || n < least || n > most) {
    throw new InputError(`${what}: a whole number from ${least} to ${most}, please.`);
  }
  return n;
}

const most = () => config.length - 2;

/** What the form asks for, as `sample` wants it. */
function readRequest() {
  const task = document.querySelector('input[name=task]:checked').value;
  const request = { nWords: null, given: [], phrase: null, unknown: [] };
  if (task === 'length') request.nWords = wholeNumber('words', 'Number of words', 1, most());
  if (task === 'gaps') {
    const { parts, sizes, unknown } = readGaps(field('gaps'), vocab, most());
    if (sizes.includes(null)) Object.assign(request, { parts, sizes, unknown });
    else Object.assign(request, { ...layOut(parts, sizes), unknown });
  }
  if (find('with-phrase').checked) request.phrase = readWanted(request);
  return request;
}

/** The phrase that is wanted; a complaint if there is no place for it. */
function readWanted({ nWords, given }) {
  const chosen = config.values[field('value')];
  const wanted = chosen
    ? { phrases: chosen.phrases, avoid: chosen.avoid }
    : { phrases: [readPhrase(field('phrase'), vocab)], avoid: [] };
  if (Math.min(...wanted.phrases.map(p => p.length)) > most()) {
    throw new InputError(`The phrase is too long; the model writes 1 to ${most()} words.`);
  }
  if (nWords !== null && !canStand(wanted.phrases, knownTokens({ nWords, given }, vocab))) {
    throw new InputError(NO_PLACE);
  }
  return wanted;
}

/** What is worth knowing about the words around the gaps. */
function unknownNotice(words) {
  if (!words.length) return '';
  const named = [...new Set(words)].map(w => `“${w.slice(0, 40)}”`).join(', ');
  return ` The model does not know ${named}, and reads an unknown word there.`;
}

/** Ask the worker for a text. */
function start() {
  try {
    const request = readRequest(), steps = wholeNumber('steps', 'Steps', 1, 200);
    const seed = wholeNumber('seed', 'Seed', 0, 2 ** 32 - 1);
    notice = unknownNotice(request.unknown);
    rows = [];
    find('run').replaceChildren();
    find('text').textContent = '';
    find('end').hidden = true;
    find('result').hidden = false;
    find('at').max = steps;
    find('stop').disabled = false;
    const model = field('model');
    say(`${loaded.has(model) ? 'Writing' : 'The model is being loaded'} …${notice}`);
    worker.postMessage({ kind: 'write', model, run: ++run, request, steps, seed });
  } catch (e) {
    if (!(e instanceof InputError)) throw e;
    say(e.message, true);
  }
}

/** One list item a word, once for the whole run. */
function makeColumns(n) {
  const items = Array.from({ length: n }, () => {
    const item = document.createElement('li');
    item.append(document.createElement('span'), document.createElement('i'));
    item.tabIndex = 0;
    const point = () => {
      pointed = item;
      find('said').textContent = item.getAttribute('aria-label');
    };
    item.addEventListener('mouseenter', point);
    item.addEventListener('focus', point);
    return item;
  });
  find('run').replaceChildren(...items);
  pointed = null;
}

const percent = p => `${Math.round(100 * p)} %`;

/** Show the step that the slider stands at. */
function show() {
  const row = rows[find('at').value];
  if (!row) return;
  const items = find('run').children;
  find('t').textContent = `${find('at').value} of ${find('at').max}, t = ${row.t.toFixed(2)}`;
  find('at').setAttribute('aria-valuetext', find('t').textContent);
  row.words.forEach(({ word, p, rest }, i) => {
    const grey = Math.round(118 * (1 - p)), [text, line] = items[i].children;
    text.textContent = word;
    text.style.color = `rgb(${grey},${grey},${grey})`;
    line.style.width = `${[...word].length * p}ch`;
    const others = rest.map(([w, q]) => `${w} ${percent(q)}`).join(', ');
    items[i].setAttribute('aria-label', `${word} ${percent(p)}`
      + (others ? `; else ${others}` : ''));
  });
  if (pointed) find('said').textContent = pointed.getAttribute('aria-label');
}

/** A step of the run has come. */
function takeStep({ step, t, words }) {
  if (step === 0) makeColumns(words.length);
  rows.push({ t, words });
  find('at').value = step;
  show();
}

/** The run is over. */
function finish({ text, seconds, stopped }) {
  find('stop').disabled = true;
  if (stopped) {
    find('at').max = Math.max(0, rows.length - 1);
    show();
    return say('Stopped. The slider goes back to earlier steps.');
  }
  find('text').textContent = text;
  find('end').hidden = false;
  const steps = rows.length - 1;
  say(`${text.split(' ').length} words in ${steps} steps, ${seconds.toFixed(1)} s.${notice}`);
}

const answers = {
  loading({ done, all }) {
    const size = u => (u / 2 ** 20).toFixed(1);
    say(`The model is being loaded: ${size(done)} of ${size(all || done)} MB …`);
  },
  sizes() { say(`Choosing the size of the gap …${notice}`); },
  ready({ model }) {
    loaded.add(model);
    say(run ? `Writing …${notice}` : 'Ready. Choose a task and press “Write”.');
  },
  step: takeStep,
  done: finish,
  failed({ said }) {
    find('stop').disabled = true;
    say(`This did not work: ${said}`, true);
  },
};
worker.onmessage = ({ data }) => {
  if (data.run === undefined || data.run === 0 || data.run === run) answers[data.kind](data);
};
worker.onerror = () => answers.failed({ said: 'the model cannot be run in this browser.' });

/** Fields and values in the list of phrases, in groups; the words of the vocabulary below. */
function fillLists() {
  const groups = new Map();
  config.values.forEach(({ field: name, value }, k) => {
    if (!groups.has(name)) {
      groups.set(name, document.createElement('optgroup'));
      groups.get(name).label = name;
    }
    groups.get(name).append(new Option(`${name}: ${value}`, k));
  });
  find('value').append(...groups.values());
  find('vocabulary').textContent = config.words.slice(4).join(' ');
}

/** Typing into a field chooses its task. */
function chooseBy(name, choice) {
  find(name).addEventListener('input', () => { find(choice).checked = true; });
}

async function fetchJson(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: the server answers ${answer.status}.`);
  return answer.json();
}

/** The models of the folder; each has its own number of steps. */
function fillModels(models) {
  find('model').append(...models.map(({ name, steps }) =>
    new Option(`${name}, ${steps} steps`, name)));
  find('model').addEventListener('change', () => {
    find('steps').value = models.find(m => m.name === field('model')).steps;
  });
  find('steps').value = models[0].steps;
}

async function begin() {
  const models = await fetchJson('./model/models.json'), [{ name }] = models;
  config = await fetchJson(`./model/${name}/model.json`);
  vocab = new Vocab(config.words);
  worker.postMessage({ kind: 'load', model: name });
  fillLists();
  fillModels(models);
  find('form').addEventListener('submit', event => {
    event.preventDefault();
    start();
  });
  find('next').addEventListener('click', () => {
    find('seed').value = (Number(field('seed')) + 1) % 2 ** 32;
    start();
  });
  find('stop').addEventListener('click', () => worker.postMessage({ kind: 'stop' }));
  find('at').addEventListener('input', show);
  find('value').addEventListener('change', () => {
    find('phrase').disabled = field('value') !== '';
    find('with-phrase').checked = true;
  });
  [['words', 'task-length'], ['gaps', 'task-gaps'], ['phrase', 'with-phrase']].forEach(
    p => chooseBy(...p));
}
begin().catch(e => answers.failed({ said: e.message }));
