// Every hedge: what is held and why, and when it will close. Figures that the daemon does not know yet are left out.

import { age, getNow, setAge } from "../clock.js";
import { Pager, Table, panel } from "../dom.js";
import { coins, duration, time, tone, trader, usd, words } from "../format.js";

const LENGTH = 50;
const key = (row) => `${row.market}|${row.position_id}`;

/** Why it is there, and what has to happen before it goes. */
function describeEnd(row) {
  if (row.status !== "OPEN") return `an order is in flight (${words(row.status.toLowerCase())})`;
  if (row.closes_at) return `in ${duration(row.closes_at - getNow())}, at ${time(row.closes_at, getNow())} UTC, unless the risk comes back`;
  return "once its risk has gone for a while, or its position";
}

const MONEY = [["Profit at mark, USD", "profit_usd"], ["Fees, USD", "fees_usd"], ["Funding, USD", "funding_usd"]];

export function buildHedges() {
  const { section, body } = panel("hedges", "Hedges", { wide: true });
  const ages = new Map();
  let rows = [];
  const table = new Table("Hedges", [
    { title: "Market", keep: true, cell: (row) => row.market },
    { title: "Trader", keep: true, cell: (row) => trader(row.position_id) },
    { title: "Side", keep: true, cell: (row) => row.side },
    { title: "Quantity", number: true, cell: (row) => (row.quantity === row.target ? coins(row.quantity) : `${coins(row.quantity)} of ${coins(row.target)}`) },
    { title: "Age", number: true, cell: (row) => ages.get(key(row)) },
    { title: "Opened because of", long: true, cell: (row) => words(row.reason) },
    { title: "Now", keep: true, cell: (row) => words(row.decision) || "–" },
    { title: "Closes", long: true, cell: describeEnd },
    ...MONEY.map(([title, name]) => ({ title, field: name, number: true, cell: (row) => usd(row[name], { signed: true }), tone: (row) => tone(row[name]) })),
  ], key, "No hedges are held.");
  const pager = new Pager("hedges", LENGTH, show);
  body.append(table.element, pager.element);

  function show() {
    pager.update(rows.length);
    const shown = rows.slice(pager.offset, pager.offset + LENGTH);
    for (const row of shown) {
      if (!ages.has(key(row))) ages.set(key(row), age());
      setAge(ages.get(key(row)), row.opened_at);
    }
    table.update(shown);
  }
  function showHedges({ hedges }) {
    rows = hedges;
    const held = new Set(rows.map(key));
    for (const name of ages.keys()) if (!held.has(name)) ages.delete(name);
    show();
  }
  return { section, on: { hedges: showHedges }, onTick: show };
}
