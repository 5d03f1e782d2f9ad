"use strict";
/* Which samples are shown: a scan of the typed arrays, and a search in the texts of the chosen runs. */
const filters = (() => {
  let searched = { key: "", hits: null };

  /** Find the samples that the state asks for; returns their numbers in the chosen order. */
  async function apply(progress) {
    const runs = state.chosen();
    const hits = state.q.trim() ? await search(state.q.trim(), runs, progress) : null;
    return sort(scan(runs, hits), runs);
  }

  function scan(runs, hits) {
    const codes = runs.map((run) => run.codes());
    const told = state.value ? runs.map((run) => run.values()) : null;
    const value = spy.values.indexOf(state.value);
    const label = spy.labels.indexOf(state.label);
    const named = spy.scenarios.indexOf(state.scenario);
    const scenario = state.scenario === "none" ? 0 : named < 0 ? -1 : named + 1;
    const fits = spy.cases.map(fitsCase);
    const outcome = spy.outcomes.indexOf(state.outcome);
    const expected = spy.cases.map((kase) => kase.expected);
    const out = new Uint32Array(spy.count);
    let found = 0;
    for (let i = 0; i < spy.count; i++) {
      if (!fits[spy.kase[i]] || (hits && !hits[i])) continue;
      if (state.label && spy.label[i] !== label) continue;
      if (state.scenario && spy.scenario[i] !== scenario) continue;
      let asked = false;
      let as = outcome < 0;
      let wrong = false;
      let first = -1;
      let differ = false;
      for (const code of codes) {
        const it = code[i];
        if (it === spy.NOT_ASKED) continue;
        asked = true;
        if (it === outcome) as = true;
        if (it < 2 && it !== expected[spy.kase[i]]) wrong = true;
        if (first < 0) first = it;
        else if (first !== it) differ = true;
      }
      if (told && !told.some((values) => values[i] === value)) continue;
      if (asked && as && (wrong || !state.wrong) && (differ || !state.differ)) out[found++] = i;
    }
    return out.subarray(0, found);
  }

  function fitsCase(kase) {
    return (
      (!state.role || kase.role === (state.role === "none" ? "" : state.role)) &&
      (!state.side || Boolean(kase.private) === (state.side === "private")) &&
      (!state.expected || spy.outcomes[kase.expected] === state.expected)
    );
  }

  function sort(found, runs) {
    const rank = { label: spy.label, scenario: spy.scenario, wrong: null }[state.sort];
    if (rank === undefined) return found;
    const key = rank || wrongCounts(found, runs);
    const sign = rank ? 1 : -1;
    return found.slice().sort((a, b) => sign * (key[a] - key[b]) || a - b);
  }

  function wrongCounts(found, runs) {
    const out = new Uint16Array(spy.count);
    for (const run of runs) {
      const codes = run.codes();
      for (const i of found) if (spy.wrong(codes[i], i)) out[i]++;
    }
    return out;
  }

  /** Which samples hold a text, in the chosen runs' answers or judges' words, or in the prompts. */
  async function search(text, runs, progress) {
    const key = JSON.stringify([text, state.within, runs.map((run) => run.id)]);
    if (searched.key === key) return searched.hits;
    const prefixes = prefixesOf(runs);
    const needle = text.toLowerCase();
    const hits = new Uint8Array(spy.count);
    const parts = Math.ceil(spy.count / spy.chunk);
    let done = 0;
    const one = async (prefix, part) => {
      const columns = await spy.load(`${prefix}-${part}`);
      const texts = columns[state.within] || [];
      const start = part * spy.chunk;
      for (let k = 0; k < texts.length; k++) {
        if (texts[k].toLowerCase().includes(needle)) hits[start + k] = 1;
      }
      progress(++done / (parts * prefixes.length));
    };
    for (const prefix of prefixes) {
      await Promise.all(Array.from({ length: parts }, (_, part) => one(prefix, part)));
    }
    searched = { key, hits };
    return hits;
  }

  function prefixesOf(runs) {
    const numbers = runs.map((run) => spy.runs.indexOf(run));
    if (state.within !== "prompt") return numbers.map((number) => `answers-${number}`);
    const sets = new Set(runs.map((run) => run.prompts).filter((set) => set >= 0));
    return Array.from(sets, (set) => `prompts-${set}`);
  }

  /** The text around the first match, as [before, match, after]; null if there is none. */
  function excerpt(text, needle) {
    const at = text.toLowerCase().indexOf(needle.toLowerCase());
    if (at < 0) return null;
    const end = at + needle.length;
    const from = Math.max(0, at - 40);
    return [
      (from ? "…" : "") + text.slice(from, at),
      text.slice(at, end),
      text.slice(end, end + 80),
    ];
  }

  return { apply, excerpt, prefixesOf };
})();
