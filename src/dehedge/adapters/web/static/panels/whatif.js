// What a move of prices would bring: hedges that would open, what is held back and why, margin, liquidations.

import { get } from "../api.js";
import { Table, el, panel, setText } from "../dom.js";
import { amount, coins, trader, usd, words } from "../format.js";

const PATH = "/api/v1/whatif";
const key = (row) => `${row.market}|${row.position_id}`;

function buildOpens() {
  return new Table("Hedges that would open", [
    { title: "Market", keep: true, cell: (row) => row.market },
    { title: "Trader", keep: true, cell: (row) => trader(row.position_id) },
    { title: "Side", keep: true, cell: (row) => row.side },
    { title: "Quantity", number: true, cell: (row) => coins(row.quantity) },
    { title: "Notional, USD", number: true, cell: (row) => usd(row.notional_usd) },
    { title: "Margin, USD", number: true, cell: (row) => usd(row.margin_usd) },
    { title: "Reason", cell: (row) => words(row.reason) },
  ], key, "No hedge would open.");
}

function buildHeld() {
  return new Table("Held back", [
    { title: "Market", keep: true, cell: (row) => row.market },
    { title: "Trader", keep: true, cell: (row) => trader(row.position_id) },
    { title: "Held back by", cell: (row) => row.text ?? words(row.reason) },
  ], key, "Nothing would be held back.");
}

function describe({ margin, vault, liquidated }) {
  const short = Number(margin.short_usd) > 0 ? `, ${usd(margin.short_usd)} USD too little` : "";
  const available = margin.available_usd === null ? `what is available is not known (${margin.error})` : `${usd(margin.available_usd)} available`;
  const legs = liquidated.map((row) => `${row.symbol} ${row.leg} ${coins(row.quantity)} at ${amount(row.liquidation_price)}`);
  return `Margin: ${usd(margin.needed_usd)} USD needed, ${available}${short}. `
    + `Vault: ${usd(vault.before)}, unhedged ${usd(vault.after_unhedged)}. `
    + `The exchange would liquidate: ${legs.join(", ") || "nothing"}.`;
}

export function buildWhatif(known) {
  const { section, body } = panel("whatif", "What if prices move", { needs: "stream inputs", wide: true });
  section.hidden = true;
  const moves = el("input", { name: "moves", placeholder: "BTC-USD -10, ETH-USD -12", autocomplete: "off", spellcheck: "false" });
  const answer = el("p", { role: "status" });
  const [opens, held] = [buildOpens(), buildHeld()];
  const results = el("div", { hidden: true }, el("h3", {}, "Would open"), opens.element, el("h3", {}, "Would be held back"), held.element);
  const form = el("form", { class: "inline" },
    el("label", {}, el("span", {}, "Moves in percent"), moves), el("button", { type: "submit" }, "Foresee"));
  body.append(form, answer, results);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = moves.value.split(",").map((move) => move.trim().replace(/%$/, "").split(/[\s:]+/)).filter(([market]) => market);
    try {
      const found = await get(PATH, asked.map(([market, percent]) => ["move", `${market}:${percent ?? ""}`]));
      opens.update(found.opens);
      held.update(found.held);
      results.hidden = false;
      setText(answer, describe(found));
    } catch (error) {
      results.hidden = true;
      setText(answer, error.message);
    }
  });
  return { section, on: { hello: () => { section.hidden = !known.has(PATH); } } };
}
