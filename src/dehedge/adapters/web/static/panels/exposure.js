// By market: what the traders hold together, what is hedged of it, and what is not. Long is positive.

import { Table, panel } from "../dom.js";
import { coins, usd } from "../format.js";

const both = (pair) => `${usd(pair.usd, { signed: true })} USD · ${coins(pair.coins, { signed: true })}`;

export function buildExposure() {
  const { section, body } = panel("exposure", "Exposure by market", { needs: "stream inputs", wide: true });
  const table = new Table("Exposure by market", [
    { title: "Market", keep: true, cell: (row) => row.market },
    { title: "Positions", number: true, cell: (row) => `${row.positions}` },
    { title: "At risk", number: true, cell: (row) => `${row.at_risk}`, tone: (row) => (row.at_risk ? "warn" : "") },
    { title: "Traders’ net", number: true, cell: (row) => both(row.traders) },
    { title: "Hedged", number: true, cell: (row) => both(row.hedged) },
    { title: "Unhedged", number: true, cell: (row) => both(row.unhedged) },
    { title: "Hedges", number: true, cell: (row) => `${row.hedges}` },
  ], (row) => row.market, "No open positions and no hedges.");
  body.append(table.element);
  return { section, on: { exposure: ({ exposure }) => table.update(exposure) } };
}
