"use strict";
/* The data: an index of all samples in typed arrays, and texts in chunks that are loaded as scripts,
   since a page that was opened as a file may not fetch. */
const spy = (() => {
  const MOST_CHUNKS = 600; // then the one that was used longest ago is dropped
  const waiting = new Map(); // name -> resolve
  const chunks = new Map(); // name -> promise, in the order of last use

  function address(path) {
    if (!/^data\/[a-z]+(-\d+)*\.js$/.test(path)) throw new TypeError(`not a data file: ${path}`);
    return path;
  }
  const trusted = window.trustedTypes
    ? window.trustedTypes.createPolicy("spy-bench", { createScriptURL: address })
    : { createScriptURL: address };

  /** Called by every data file with its name and value. */
  function receive(name, value) {
    const resolve = waiting.get(name);
    waiting.delete(name);
    if (resolve) resolve(value);
  }

  function request(name) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      const fail = () => {
        waiting.delete(name);
        element.remove();
        reject(new Error(`data/${name}.js is missing or damaged`));
      };
      waiting.set(name, resolve);
      element.onerror = fail;
      element.onload = () => (waiting.has(name) ? fail() : element.remove());
      element.src = trusted.createScriptURL(`data/${name}.js`);
      document.head.append(element);
    });
  }

  /** Load a data file once; returns a promise of its value. */
  function load(name) {
    const found = chunks.get(name) || request(name);
    chunks.delete(name);
    chunks.set(name, found);
    found.catch(() => chunks.delete(name));
    if (chunks.size > MOST_CHUNKS) chunks.delete(chunks.keys().next().value);
    return found;
  }

  function bytes(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text);
    const out = new Uint8Array(binary.length);
    for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
    return out;
  }

  const NOT_ASKED = 255;
  const JUDGED = 2; // the first outcomes are respond and reject

  /** Unpack the index. */
  async function open() {
    const index = await load("index");
    const { columns } = index;
    Object.assign(spy, index, {
      item: new Uint32Array(bytes(columns.item).buffer),
      image: new Uint32Array(bytes(columns.image).buffer),
      label: new Uint16Array(bytes(columns.label).buffer),
      scenario: new Uint16Array(bytes(columns.scenario).buffer),
      kase: bytes(columns.case),
      hasPicture: bytes(index.pictures),
    });
    spy.count = spy.kase.length;
    spy.ambiguous = ambiguous();
    for (const run of spy.runs) {
      let unpacked = null;
      run.codes = () => (unpacked ??= split(bytes(run.outcomes))).codes;
      run.values = () => (unpacked ??= split(bytes(run.outcomes))).values;
    }
  }

  /** Take each sample's outcome and what its answer tells apart. */
  function split(codes) {
    const values = new Uint8Array(codes.length);
    for (let i = 0; i < codes.length; i++) {
      if (codes[i] === NOT_ASKED) continue;
      values[i] = Math.floor(codes[i] / spy.value_step);
      codes[i] %= spy.value_step;
    }
    return { codes, values };
  }

  const about = (i) => spy.cases[spy.kase[i]];
  const wrong = (outcome, i) => outcome < JUDGED && outcome !== about(i).expected;

  /** The texts of a sample in a file with chunks, by column; empty where there are none. */
  async function texts(prefix, i) {
    const columns = await load(`${prefix}-${Math.floor(i / spy.chunk)}`);
    const place = i % spy.chunk;
    return Object.fromEntries(Object.entries(columns).map(([name, all]) => [name, all[place]]));
  }

  const sameItem = (i, j) =>
    j >= 0 &&
    j < spy.count &&
    spy.item[i] === spy.item[j] &&
    spy.label[i] === spy.label[j] &&
    spy.image[i] === spy.image[j];
  const sameQuestion = (i, j) =>
    sameItem(i, j) && spy.scenario[i] === spy.scenario[j] && about(i).role === about(j).role;

  /** The other sample of a pair, or -1. Samples are sorted, the private one first. */
  function partner(i) {
    const j = about(i).private ? i + 1 : i - 1;
    return sameQuestion(i, j) ? j : -1;
  }

  /** All samples on the item of a sample. */
  function siblings(i) {
    let from = i;
    let to = i + 1;
    while (sameItem(i, from - 1)) from--;
    while (sameItem(i, to)) to++;
    return Array.from({ length: to - from }, (_, k) => from + k);
  }

  /** A sample's name in addresses: its sample_id without the variant. */
  function nameOf(i) {
    const { private: secret, role } = about(i);
    const parts = [spy.items[spy.item[i]], secret ? "private" : "public"];
    if (role) parts.push(role, spy.scenarios[spy.scenario[i] - 1]);
    const name = parts.join("/");
    return spy.ambiguous[spy.item[i]]
      ? `${name}@${spy.images[spy.image[i]]}@${spy.labels[spy.label[i]]}`
      : name;
  }

  /** Which numbers stand for items of two benchmarks: 1 or 0 for each. */
  function ambiguous() {
    const found = new Uint8Array(spy.items.length);
    for (let i = 1; i < spy.count; i++)
      if (spy.item[i] === spy.item[i - 1] && !sameItem(i, i - 1)) found[spy.item[i]] = 1;
    return found;
  }

  /** The sample of a name, or -1. */
  function find(name) {
    for (let i = 0; i < spy.count; i++) {
      if (name.startsWith(spy.items[spy.item[i]]) && nameOf(i) === name) return i;
    }
    return -1;
  }

  /** The label and the scenario of a sample, in the words of the report. */
  const labelWords = (i) => spy.label_words[spy.label[i]];
  const scenarioWords = (i) => spy.scenario_words[spy.scenario[i] - 1];

  return {
    receive,
    load,
    open,
    texts,
    about,
    wrong,
    partner,
    siblings,
    nameOf,
    find,
    labelWords,
    scenarioWords,
    NOT_ASKED,
  };
})();

/** Create an element; strings become text, never markup. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}
