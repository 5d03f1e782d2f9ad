"use strict";
/* One sample: what was asked, what is expected, and what the chosen models said; with its pair. */
const detail = (() => {
  const place = () => document.getElementById("detail");
  let drawn = 0;

  /** Show the sample of the state; texts appear when their chunks are there. */
  async function show() {
    const mine = ++drawn;
    const i = state.sample;
    document.body.classList.toggle("opened", i >= 0 || Boolean(state.missing));
    if (i < 0) {
      place().replaceChildren(
        h(
          "p",
          { class: "hint" },
          state.missing ? `No sample is named ${state.missing}.` : "Choose a sample.",
        ),
      );
      return;
    }
    const runs = state.chosen();
    const other = spy.partner(i);
    const samples = other < 0 ? [i] : [i, other].sort((a, b) => a - b);
    place().replaceChildren(
      heading(i),
      h("div", { class: "body" }, h("p", { class: "hint" }, "Loading ...")),
    );
    const content = [];
    try {
      content.push(
        await question(i, runs),
        policies(i),
        await answers(i, samples, runs),
        around(i, other),
      );
    } catch (error) {
      content.push(
        h("p", { class: "error", role: "alert" }, `${error.message}. Write the folder again.`),
      );
    }
    if (mine === drawn)
      place()
        .querySelector(".body")
        .replaceChildren(...content);
  }

  function heading(i) {
    const kase = spy.about(i);
    const name = spy.nameOf(i);
    return h(
      "header",
      null,
      h("a", { class: "close", href: state.hash({ sample: -1 }) }, "← all samples"),
      h("h2", null, spy.labelWords(i), " ", list.side(kase)),
      h(
        "p",
        { class: "facts" },
        `${list.scenario(i)} · expected `,
        h("b", null, spy.outcomes[kase.expected]),
        `: ${reason(kase)}`,
      ),
      h(
        "p",
        { class: "name" },
        h("a", { href: state.hash({ sample: i }), title: "the address of this sample" }, name),
        ` · ${spy.labels[spy.label[i]]}`,
      ),
    );
  }

  function reason(kase) {
    if (kase.absolute) return "this label is always refused";
    if (kase.role === "conflict") return "the role needs the label, whatever the user calls it";
    return `the user calls it ${kase.private ? "private" : "public"}`;
  }

  async function question(i, runs) {
    const sets = [...new Set(asking(i, runs).map((run) => run.prompts))];
    const asked = await Promise.all(
      sets.map((set) => (set < 0 ? {} : spy.texts(`prompts-${set}`, i))),
    );
    const blocks = asked.map((each, k) =>
      prompt(each, sets.length > 1 ? setName(sets[k], i, runs) : ""),
    );
    const truth = asked.map((each) => each.gt).find(Boolean);
    return h(
      "section",
      { class: "question" },
      picture(i),
      h(
        "div",
        null,
        ...blocks,
        truth && h("p", { class: "truth" }, "The picture shows: ", h("b", null, truth)),
      ),
    );
  }

  const asking = (i, runs) => runs.filter((run) => run.codes()[i] !== spy.NOT_ASKED);
  /** What tells the prompts of a set apart from the other sets'. */
  function setName(set, i, runs) {
    const run = asking(i, runs).find((each) => each.prompts === set);
    return run.variant ? run.variant.replaceAll("_", " ") : spy.conditionWords[run.condition];
  }

  function prompt(asked, title) {
    const head = h("h3", null, title ? `Prompt, ${title}` : "Prompt");
    if (!asked.prompt)
      return h(
        "div",
        null,
        head,
        h(
          "p",
          { class: "hint" },
          "The prompt is shown only if the benchmark's files were on the machine that wrote this page.",
        ),
      );
    return h("div", null, head, h("pre", { class: "prompt" }, ...marked(asked)));
  }

  /** The prompt as text, with the line on the asked label marked. */
  function marked({ prompt: text, asked }) {
    const lines = text.split("\n");
    if (typeof asked !== "number" || asked < 0 || asked >= lines.length) return [text];
    const before = lines
      .slice(0, asked)
      .map((line) => `${line}\n`)
      .join("");
    const after = lines
      .slice(asked + 1)
      .map((line) => `\n${line}`)
      .join("");
    return [before, h("mark", { title: "the line on the asked label" }, lines[asked]), after];
  }

  function picture(i) {
    const path = spy.images[spy.image[i]];
    if (!spy.hasPicture[spy.image[i]]) return h("p", { class: "path" }, path);
    const address = `pictures/${spy.image[i]}.jpg`;
    const image = h("img", {
      src: address,
      alt: "the picture that was asked about",
      loading: "lazy",
    });
    const frame = h("figure", null, h("a", { href: address }, image), h("figcaption", null, path));
    image.addEventListener("error", () => image.parentElement.remove());
    return frame;
  }

  function policies(i) {
    const acts = Object.entries(spy.about(i).policies);
    return h(
      "p",
      { class: "policies" },
      h("span", null, "Reference policies"),
      ...acts.map(([name, outcome]) =>
        h("span", { class: "one" }, h("small", null, name), list.chip(outcome, i)),
      ),
    );
  }

  /** The answers of the runs to the samples of a pair, side by side. */
  async function answers(i, samples, runs) {
    const shown = runs.filter((run) => samples.some((j) => run.codes()[j] !== spy.NOT_ASKED));
    const cells = await Promise.all(
      samples.map((j) => Promise.all(shown.map((run) => answer(j, run, shown)))),
    );
    const several = shown.length > 1;
    const panels = samples.map((j, k) =>
      h(
        "section",
        { class: j === i ? "panel current" : "panel" },
        samples.length > 1 && panelTitle(j, i),
        h("div", { class: several ? "answers several" : "answers" }, ...cells[k]),
      ),
    );
    return h(
      "section",
      { class: several || samples.length < 2 ? "pair stacked" : "pair" },
      ...panels,
    );
  }

  function panelTitle(j, i) {
    const secret = spy.about(j).private;
    const words = secret ? "The user calls it private" : "The user calls it public";
    return h(
      "h3",
      null,
      j === i ? words : h("a", { href: state.hash({ sample: j }) }, words),
      h(
        "small",
        null,
        j === i
          ? " this sample"
          : ` the other of the pair, expected ${spy.outcomes[spy.about(j).expected]}`,
      ),
    );
  }

  async function answer(i, run, runs) {
    const outcome = run.codes()[i];
    const title = h(
      "h4",
      null,
      runs.length > 1 ? list.short(run, runs) : run.model,
      " ",
      outcome === spy.NOT_ASKED ? "" : list.chip(outcome, i),
      " ",
      list.value(run, i),
    );
    if (outcome === spy.NOT_ASKED)
      return h("div", { class: "answer" }, title, h("p", { class: "hint" }, "not asked"));
    const number = spy.runs.indexOf(run);
    const said = await spy.texts(`answers-${number}`, i);
    return h(
      "div",
      { class: `answer ${list.kind(outcome, i)}` },
      title,
      ...(said.turns || []).map((text, k) => fold(`Turn ${k + 1}`, text)),
      h("pre", null, said.answer || "(empty)"),
      thoughts(number, i, run),
      said.judge && judged(run, said.judge),
      said.error && h("p", { class: "error" }, said.error),
      h("p", { class: "source" }, `${run.file}, line ${said.line}`),
    );
  }

  /** The judge's words: one is a line, more are folded. */
  function judged(run, text) {
    const title = `Judge ${run.judge}`.trim();
    return text.length > 60
      ? fold(title, text)
      : h("p", { class: "judge" }, `${title}: `, h("b", null, text));
  }

  const fold = (title, text) => h("details", null, h("summary", null, title), h("pre", null, text));

  /** What was thought aloud, loaded when it is opened. */
  function thoughts(number, i, run) {
    if (!run.thoughts.includes(Math.floor(i / spy.chunk))) return null;
    const folded = h("details", { class: "thoughts" }, h("summary", null, "Thoughts"));
    folded.addEventListener("toggle", async () => {
      if (!folded.open || folded.childElementCount > 1) return;
      const { model, judge } = await spy.texts(`thoughts-${number}`, i);
      folded.append(h("pre", null, model || (judge ? "" : "(none)")));
      if (judge) folded.append(h("h5", null, "The judge's"), h("pre", null, judge));
    });
    return folded;
  }

  function around(i, other) {
    const rest = spy.siblings(i).filter((j) => j !== i && j !== other);
    if (!rest.length) return "";
    return h(
      "nav",
      { class: "around", "aria-label": "Other samples of this question" },
      h("h3", null, "The same question"),
      h(
        "ul",
        null,
        ...rest.map((j) =>
          h(
            "li",
            null,
            h(
              "a",
              { href: state.hash({ sample: j }) },
              spy.about(j).private ? "private" : "public",
              ` · ${list.scenario(j)} · expected ${spy.outcomes[spy.about(j).expected]}`,
            ),
          ),
        ),
      ),
    );
  }

  return { show };
})();
