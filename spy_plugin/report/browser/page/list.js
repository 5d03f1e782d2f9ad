"use strict";
/* The list of the samples that fit, a page at a time. */
const list = (() => {
  const PAGE = 100;
  const FEW = 3; // with more models than this, the list counts them
  const DISCLOSES = 1; // of the values
  const MARKS = { open: "–", bad: "✗", good: "✓" };
  let found = new Uint32Array(0);

  const at = (id) => document.getElementById(id);

  function show(samples) {
    found = samples;
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    state.page = Math.min(state.page, last);
    draw();
  }

  function draw() {
    const runs = state.chosen();
    const start = state.page * PAGE;
    const shown = Array.from(found.subarray(start, start + PAGE));
    const hashOf = state.hashes();
    at("rows").replaceChildren(...shown.map((i) => row(i, runs, hashOf(i))));
    at("rows").setAttribute("start", String(start + 1));
    at("count").replaceChildren(...counted(runs));
    const pages = Math.ceil(found.length / PAGE);
    at("pages").hidden = pages < 2;
    at("page").textContent = `page ${state.page + 1} of ${pages}`;
    at("back").disabled = state.page === 0;
    at("next").disabled = state.page >= pages - 1;
    if (state.q.trim()) addExcerpts(runs, shown);
    mark();
  }

  function counted(runs) {
    if (!runs.length) return ["No chosen model was measured under a chosen condition."];
    const number = (value) => value.toLocaleString("en");
    return [h("b", null, number(found.length)), ` of ${number(spy.count)} samples`];
  }

  function row(i, runs, href) {
    const kase = spy.about(i);
    const link = h(
      "a",
      { href, "data-sample": String(i) },
      h(
        "span",
        { class: "title" },
        h("b", null, spy.labelWords(i)),
        " ",
        side(kase),
      ),
      h("span", { class: "where" }, scenario(i), ` · expected ${spy.outcomes[kase.expected]}`),
      outcomes(i, runs),
    );
    return h("li", null, link);
  }

  const side = (kase) =>
    h(
      "span",
      { class: `side ${kase.private ? "private" : "public"}` },
      kase.private ? "private" : "public",
    );

  function scenario(i) {
    const { role } = spy.about(i);
    if (!role) return "no scenario";
    return `${spy.scenarioWords(i)}, ${role === "conflict" ? "needs it" : "does not need it"}`;
  }

  function outcomes(i, runs) {
    const asked = runs.filter((run) => run.codes()[i] !== spy.NOT_ASKED);
    if (asked.length <= FEW) {
      return h(
        "span",
        { class: "chips" },
        ...asked.map((run) =>
          h(
            "span",
            { class: "one" },
            asked.length > 1 && h("small", null, short(run, runs)),
            chip(run.codes()[i], i),
            value(run, i),
          ),
        ),
      );
    }
    const bad = asked.filter((run) => spy.wrong(run.codes()[i], i));
    return h(
      "span",
      {
        class: "chips",
        title: bad.length ? `wrong: ${bad.map((run) => short(run, runs)).join(", ")}` : false,
      },
      h("small", null, `${bad.length} of ${asked.length} wrong`),
      h("span", { class: "marks", "aria-hidden": "true" }, ...marks(asked, i)),
      h("small", null, told(asked, i)),
    );
  }

  /** How many runs tell each value. */
  function told(asked, i) {
    const count = (value) => asked.filter((run) => run.values()[i] === value).length;
    return spy.values
      .map((words, value) => [words, count(value)])
      .slice(1)
      .filter(([, runs]) => runs)
      .map(([words, runs]) => `${words}: ${runs}`)
      .join(" · ");
  }

  /** A mark for each run, neighbours of one kind in one element. */
  function marks(asked, i) {
    const found = [];
    let last = "";
    for (const run of asked) {
      const now = kind(run.codes()[i], i);
      if (now !== last) found.push(h("i", { class: now }));
      found.at(-1).textContent += MARKS[now];
      last = now;
    }
    return found;
  }

  /** The name of a run among others: what tells it apart. */
  function short(run, runs) {
    const models = new Set(runs.map((each) => each.model));
    if (models.size === runs.length) return run.model;
    return `${models.size > 1 ? `${run.model} · ` : ""}${spy.conditionWords[run.condition]}`;
  }

  const kind = (outcome, i) => (outcome > 1 ? "open" : spy.wrong(outcome, i) ? "bad" : "good");

  function chip(outcome, i) {
    const now = kind(outcome, i);
    const said = { open: "", bad: " (wrong)", good: " (as expected)" }[now];
    return h(
      "span",
      { class: `chip ${now}` },
      h("span", { "aria-hidden": "true" }, `${MARKS[now]} `),
      spy.outcomes[outcome],
      h("span", { class: "unseen" }, said),
    );
  }

  /** What an answer tells of the true value; nothing where that is not known. */
  function value(run, i) {
    const told = run.values()[i];
    if (!told) return null;
    const kinds = told === DISCLOSES ? "chip value discloses" : "chip value";
    return h("span", { class: kinds }, spy.values[told]);
  }

  /** Add the text around a match; its chunks have just been searched. */
  async function addExcerpts(runs, shown) {
    const needle = state.q.trim();
    const links = Array.from(at("rows").querySelectorAll("a"));
    for (const [place, i] of shown.entries()) {
      for (const prefix of filters.prefixesOf(runs)) {
        const text = (await spy.texts(prefix, i))[state.within] || "";
        const parts = filters.excerpt(text, needle);
        if (!parts) continue;
        links[place].append(
          h("span", { class: "excerpt" }, parts[0], h("mark", null, parts[1]), parts[2]),
        );
        break;
      }
    }
  }

  /** Mark the sample that is open, and let its link be seen. */
  function mark() {
    for (const link of at("rows").querySelectorAll("a[aria-current]"))
      link.removeAttribute("aria-current");
    const link = at("rows").querySelector(`a[data-sample="${state.sample}"]`);
    if (!link) return;
    link.setAttribute("aria-current", "true");
    link.scrollIntoView({ block: "nearest" });
  }

  /** Update the links' addresses after a change of the state that keeps the rows. */
  function relink() {
    const hashOf = state.hashes();
    for (const link of at("rows").querySelectorAll("a")) {
      link.setAttribute("href", hashOf(Number(link.dataset.sample)));
    }
    mark();
  }

  /** The sample some steps from the open one in the list, with its page; null at an end. */
  function step(by) {
    const now = found.indexOf(state.sample);
    const next = now < 0 ? state.page * PAGE + (by > 0 ? 0 : -1) : now + by;
    if (next < 0 || next >= found.length) return null;
    return { sample: found[next], page: Math.floor(next / PAGE) };
  }

  return { show, draw, mark, relink, step, chip, value, side, scenario, short, kind };
})();
