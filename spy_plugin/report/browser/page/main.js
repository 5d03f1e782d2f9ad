"use strict";
/* Start the page, and connect its form, its keys and its address. */
(() => {
  const at = (id) => document.getElementById(id);
  const form = at("form");
  let asked = 0;

  async function start() {
    await spy.open();
    spy.modelNames = [...new Set(spy.runs.map((run) => run.model))];
    spy.conditionWords = tellApart(spy.conditions);
    at("made").textContent = `Made by ${spy.made}.`;
    fillForm();
    connect();
    await follow();
    document.body.classList.add("ready");
    performance.mark("ready");
  }

  /** Each title without the parts that all of them share. */
  function tellApart(titles) {
    const parts = titles.map((title) => title.split(" · "));
    const own = parts.map((each) =>
      each.filter((part) => !parts.every((other) => other.includes(part))),
    );
    return own.map((each, k) => each.join(" · ") || titles[k]);
  }

  function fillForm() {
    const option = (value, text) => h("option", { value }, text);
    const inWords = (names, words) => names.map((name, k) => option(name, words[k]));
    form.elements.label.append(...inWords(spy.labels, spy.label_words));
    form.elements.scenario.append(...inWords(spy.scenarios, spy.scenario_words));
    const due = [...new Set(spy.cases.map((kase) => spy.outcomes[kase.expected]))];
    form.elements.expected.append(...due.map((name) => option(name, name)));
    form.elements.outcome.append(...spy.outcomes.map((name) => option(name, name)));
    form.elements.value.append(...spy.values.slice(1).map((name) => option(name, name)));
    at("values").hidden = !spy.values.length;
    const policies = new Set(spy.runs.filter((run) => run.policy).map((run) => run.model));
    at("model-options").append(
      ...spy.modelNames.map((name) =>
        box("m", name, policies.has(name) ? `${name} (reference policy)` : name),
      ),
    );
    at("condition-options").append(
      ...spy.conditions.map((name, k) => box("c", name, spy.conditionWords[k])),
    );
    at("conditions").hidden = spy.conditions.length < 2;
    at("to-report").hidden = !spy.report;
  }

  const box = (name, value, text) =>
    h(
      "label",
      { class: "check", title: value },
      h("input", { type: "checkbox", name, value }),
      ` ${text}`,
    );
  const boxes = (name) => Array.from(form.querySelectorAll(`input[name="${name}"]`));
  const checked = (name) =>
    new Set(
      boxes(name)
        .filter((each) => each.checked)
        .map((each) => each.value),
    );

  /** Show what the address names. */
  async function follow() {
    const before = { key: filterKey(), page: state.page };
    state.read();
    showForm();
    if (before.key !== filterKey() || !document.body.classList.contains("ready")) await update();
    else if (before.page !== state.page) list.draw();
    else list.relink();
    await detail.show();
  }

  const filterKey = () =>
    JSON.stringify(
      [...state.FIELDS, ...state.FLAGS]
        .map((name) => state[name])
        .concat([[...(state.models || [])], [...(state.conditions || [])]]),
    );

  function showForm() {
    for (const name of state.FIELDS) form.elements[name].value = state[name];
    for (const name of state.FLAGS) form.elements[name].checked = state[name];
    for (const each of boxes("m")) each.checked = state.models.has(each.value);
    for (const each of boxes("c")) each.checked = state.conditions.has(each.value);
    const used =
      state.FIELDS.filter((name) => !["within", "sort"].includes(name) && state[name]).length +
      state.FLAGS.filter((name) => state[name]).length;
    at("active").textContent = used ? `(${used} in use)` : "";
  }

  /** Filter again and draw the list; a later call wins. */
  async function update() {
    const mine = ++asked;
    const tell = (share) =>
      mine === asked && (at("count").textContent = `Searching ... ${Math.round(100 * share)}%`);
    let found;
    try {
      found = await filters.apply(tell);
    } catch (error) {
      at("count").textContent = `${error.message}. Write the folder again.`;
      return;
    }
    if (mine === asked) list.show(found);
  }

  /** Take the form's values into the state and the address. */
  async function changed() {
    for (const name of state.FIELDS) state[name] = form.elements[name].value;
    for (const name of state.FLAGS) state[name] = form.elements[name].checked;
    state.models = checked("m");
    state.conditions = checked("c");
    state.page = 0;
    await update();
    replaceAddress();
    showForm();
    await detail.show();
  }

  const replaceAddress = () => history.replaceState(null, "", state.hash());

  function connect() {
    let timer = 0;
    form.addEventListener("input", (event) => {
      clearTimeout(timer);
      if (event.target.name === "q") timer = setTimeout(changed, 200);
      else changed();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      location.hash = state.hash({
        ...Object.fromEntries(state.FIELDS.map((name) => [name, state.DEFAULTS[name] ?? ""])),
        wrong: false,
        differ: false,
        page: 0,
      });
    });
    at("all-models").addEventListener("click", () => chooseModels(() => true));
    at("one-model").addEventListener("click", () => chooseModels((_, k) => k === 0));
    at("back").addEventListener("click", () => turn(-1));
    at("next").addEventListener("click", () => turn(1));
    at("help-button").addEventListener("click", () => at("help").showModal());
    window.addEventListener("hashchange", follow);
    document.addEventListener("keydown", onKey);
    if (matchMedia("(max-width: 1100px)").matches) at("filters").open = false;
  }

  function chooseModels(keep) {
    boxes("m").forEach((each, k) => (each.checked = keep(each, k)));
    changed();
  }

  function turn(by) {
    const button = by > 0 ? at("next") : at("back");
    if (button.disabled || at("pages").hidden) return;
    state.page += by;
    replaceAddress();
    list.draw();
    at("list").scrollTo(0, 0);
    at("rows").querySelector("a")?.focus({ preventScroll: true });
  }

  function step(by) {
    const next = list.step(by);
    if (next) go(next);
  }

  function go({ sample, page = state.page }) {
    const turned = page !== state.page;
    Object.assign(state, { sample, page, missing: "" });
    replaceAddress();
    if (turned) list.draw();
    else list.relink();
    detail.show();
  }

  function toggle(name) {
    form.elements[name].checked = !form.elements[name].checked;
    changed();
  }

  function toPair() {
    const other = state.sample < 0 ? -1 : spy.partner(state.sample);
    if (other >= 0) go({ sample: other });
  }

  const KEYS = {
    j: () => step(1),
    ArrowDown: () => step(1),
    k: () => step(-1),
    ArrowUp: () => step(-1),
    "]": () => turn(1),
    "[": () => turn(-1),
    p: toPair,
    w: () => toggle("wrong"),
    d: () => toggle("differ"),
    "?": () => at("help").showModal(),
    "/": () => {
      if (!at("q").checkVisibility()) go({ sample: -1 }); // a narrow screen shows the sample alone
      at("filters").open = true;
      at("q").focus();
    },
  };

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || at("help").open) return;
    const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
    if (event.key === "Escape") {
      if (typing) event.target.blur();
      else if (state.sample >= 0 || state.missing) go({ sample: -1 });
      return;
    }
    if (typing || !Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  }

  start().catch((error) => {
    at("count").textContent =
      `The samples cannot be shown: ${error.message}. Write the folder again.`;
  });
})();
