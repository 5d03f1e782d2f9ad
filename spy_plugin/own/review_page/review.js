"use strict";
/* One draft at a time: a person accepts, edits or drops it. Every text is set as text. */
(() => {
  const at = (id) => document.getElementById(id);
  const form = at("form");
  let drafts = [];
  let place = 0;
  let busy = false;

  /** Ask the server; an error is shown, and null returned. */
  async function ask(name, body) {
    let answer;
    try {
      const headers = { "Content-Type": "application/json" };
      const asked = await fetch(name, { method: "POST", headers, body: JSON.stringify(body) });
      answer = await asked.json();
    } catch {
      answer = { error: "The review has ended in the terminal. Start it again to go on." };
    }
    at("error").textContent = answer.error ?? "";
    at("error").hidden = !answer.error;
    return answer.error ? null : answer;
  }

  function show() {
    const draft = drafts[place];
    at("draft").hidden = !draft;
    at("status").textContent = draft
      ? `${place + 1} of ${drafts.length} open: ${draft.id}, by ${draft.author}`
      : "No draft is open. End the review with Ctrl-C in the terminal.";
    at("title").focus();
    if (!draft) return;
    const words = form.elements.label;
    // A draft may have a label that the form does not know.
    for (const old of words.querySelectorAll(".unknown")) old.remove();
    if (![...words.options].some((option) => option.value === draft.cells.label)) {
      words.append(new Option(`${draft.cells.label || "(none)"} (unknown)`, draft.cells.label));
      words.lastChild.className = "unknown";
    }
    for (const [name, text] of Object.entries(draft.cells)) form.elements[name].value = text;
    at("picture").alt = `The picture ${draft.picture}`;
    at("file").textContent = draft.picture;
    at("picture").hidden = !draft.image;
    if (draft.image) at("picture").src = draft.image;
    else unseen();
    tell(draft.problems);
    sure(false);
    at("back").disabled = place === 0;
    at("next").disabled = place === drafts.length - 1;
  }

  function unseen() {
    at("file").textContent = `${drafts[place].picture}: this picture cannot be shown.`;
  }

  function tell(problems) {
    const lines = problems.map((text) => {
      const line = document.createElement("li");
      line.textContent = text;
      return line;
    });
    at("problems").replaceChildren(...lines);
  }

  /** A draft is dropped when it is asked for twice. */
  function sure(yes) {
    at("drop").classList.toggle("sure", yes);
    at("drop").firstElementChild.textContent = yes ? "Drop: sure?" : "Drop";
  }

  function move(step) {
    if (!drafts[place + step]) return;
    place += step;
    show();
  }

  function wait(yes) {
    busy = yes;
    at("draft").setAttribute("aria-busy", yes);
  }

  async function decide(decision) {
    const draft = drafts[place];
    // A second key while the first is being answered would decide about a draft not seen yet.
    if (!draft || busy) return;
    wait(true);
    const answer = await ask("decide", { draft: draft.key, decision, cells: draft.cells });
    wait(false);
    if (!answer) return;
    if (answer.problems.length) {
      draft.problems = answer.problems;
      tell(answer.problems);
      return;
    }
    drafts.splice(place, 1);
    place = Math.max(0, Math.min(place, drafts.length - 1));
    show();
  }

  const choices = {
    a: () => decide("accept"),
    e: () => form.elements.question.focus(),
    d: () => (at("drop").classList.contains("sure") ? decide("drop") : sure(true)),
    j: () => move(1),
    k: () => move(-1),
  };

  function connect() {
    const buttons = { accept: "a", edit: "e", drop: "d", next: "j", back: "k" };
    for (const [id, key] of Object.entries(buttons)) at(id).addEventListener("click", choices[key]);
    at("picture").addEventListener("error", unseen);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      drafts[place].cells[event.target.name] = event.target.value;
    });
    document.addEventListener("keydown", (event) => {
      const writing = event.target.matches("textarea, select");
      if (event.key === "Enter" && event.ctrlKey) choices.a();
      else if (event.key === "Escape") writing ? at("title").focus() : sure(false);
      else if (writing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      else if (Object.hasOwn(choices, event.key)) choices[event.key]();
      else return;
      event.preventDefault();
    });
  }

  async function start() {
    const found = await ask("drafts", {});
    if (!found) return;
    drafts = found.drafts;
    form.elements.label.append(...found.labels.map(([id, words]) => new Option(words, id)));
    connect();
    show();
    document.body.classList.add("ready");
  }

  start();
})();
