"use strict";
// Sorts tables, copies tables and opens what a link points at. It reads text only as text.
(() => {
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell ? (cell.dataset.v ?? cell.textContent).trim() : "";
  };
  const compare = (a, b, numeric, direction) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // missing values come last
    return direction * (numeric ? a - b : a.localeCompare(b));
  };
  const sort = (table, head, column) => {
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    const values = rows.filter((row) => !row.classList.contains("fixed"))
      .map((row) => valueOf(row, column)).filter((value) => value !== "");
    const numeric = values.every((value) => !Number.isNaN(Number(value)));
    const before = head.getAttribute("aria-sort");
    const up = before ? before !== "ascending" : !numeric;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const moved = [...body.rows].filter((row) => !row.classList.contains("fixed"));
      moved.sort((a, b) =>
        compare(valueOf(a, column), valueOf(b, column), numeric, up ? 1 : -1));
      body.append(...moved);
    }
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, head, column));
      head.append(button);
    });
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const text = document.getElementById(button.dataset.of);
      getSelection().selectAllChildren(text);
      navigator.clipboard?.writeText(text.textContent).then(() => {
        button.textContent = "Copied";
      }, () => {});
    });
  }
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target?.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();
})();
