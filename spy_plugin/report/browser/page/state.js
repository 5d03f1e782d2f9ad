"use strict";
/* What is shown: the filters, the page and the sample, which the address (its hash) names. */
const state = (() => {
  const FIELDS = [
    "q",
    "within",
    "label",
    "scenario",
    "role",
    "side",
    "expected",
    "outcome",
    "value",
    "sort",
  ];
  const FLAGS = ["wrong", "differ"];
  const DEFAULTS = { within: "answer" };

  /** Read the address; what it does not name has its default. */
  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of FIELDS) state[name] = given.get(name) ?? DEFAULTS[name] ?? "";
    for (const name of FLAGS) state[name] = given.get(name) === "1";
    state.models = known(given.getAll("m"), spy.modelNames, firstModel);
    state.conditions = known(given.getAll("c"), spy.conditions, firstCondition);
    state.page = Math.max(0, (Number.parseInt(given.get("page"), 10) || 1) - 1);
    state.missing = "";
    const name = given.get("s");
    state.sample = name ? spy.find(name) : -1;
    if (name && state.sample < 0) state.missing = name;
  }

  function known(given, names, fallback) {
    const found = new Set(given.filter((name) => names.includes(name)));
    return found.size ? found : new Set(fallback());
  }

  const firstRun = () => spy.runs.find((run) => !run.policy) ?? spy.runs[0];
  const firstModel = () => [firstRun().model];
  const firstCondition = () => [spy.conditions[firstRun().condition]];
  const same = (set, names) => set.size === names.length && names.every((name) => set.has(name));

  /** The hash that names a state: this one with changes. */
  function hash(changes = {}) {
    const next = { ...state, ...changes };
    const out = new URLSearchParams();
    if (!same(next.models, firstModel())) next.models.forEach((name) => out.append("m", name));
    if (!same(next.conditions, firstCondition()))
      next.conditions.forEach((name) => out.append("c", name));
    for (const name of FIELDS)
      if (next[name] && next[name] !== DEFAULTS[name]) out.set(name, next[name]);
    for (const name of FLAGS) if (next[name]) out.set(name, "1");
    if (next.page) out.set("page", String(next.page + 1));
    if (next.sample >= 0) out.set("s", spy.nameOf(next.sample));
    return `#${out}`;
  }

  /** The hashes of many samples under this state: what they share is written once. */
  function hashes() {
    const shared = hash({ sample: -1 });
    const joined = shared === "#" ? "#" : `${shared}&`;
    return (i) => `${joined}${new URLSearchParams({ s: spy.nameOf(i) })}`;
  }

  /** The runs of the chosen models under the chosen conditions, in the order of the index. */
  function chosen() {
    const found = spy.runs.filter(
      (run) => state.models.has(run.model) && state.conditions.has(spy.conditions[run.condition]),
    );
    return found;
  }

  return { read, hash, hashes, chosen, FIELDS, FLAGS, DEFAULTS };
})();
