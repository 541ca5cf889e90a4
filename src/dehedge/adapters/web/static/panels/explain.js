// One position explained: the daemon's own words, and every check with its figures.

import { get } from "../api.js";
import { Table, button, el } from "../dom.js";
import { trader } from "../format.js";
import { show } from "./actions.js";

export async function openExplanation({ market, position_id: id }) {
  const opener = document.activeElement;
  const text = el("pre", { tabindex: "0" }, "…");
  const checks = new Table("Checks", [
    { title: "Check", cell: (row) => row.name },
    { title: "Fired", cell: (row) => (row.fired ? "yes" : "no"), tone: (row) => (row.fired ? "warn" : "") },
    { title: "Is", number: true, cell: (row) => `${row.left} ${row.relation ?? ":"} ${row.right}` },
    { title: "By", number: true, cell: (row) => `${row.margin} ${row.unit ?? ""}` },
  ], (row) => row.name, "");
  const dialog = el("dialog", { "aria-labelledby": "explain-title", class: "large" },
    el("h2", { id: "explain-title" }, `${market}, ${trader(id)}`), text, checks.element,
    el("div", { class: "actions" }, button("Close", () => dialog.close())));
  show(dialog, opener);
  try {
    const answer = await get("/api/v1/explain", { market, position_id: id });
    text.textContent = answer.text.join("\n");
    checks.update(answer.checks);
  } catch (error) {
    text.textContent = error.message;
  }
}
