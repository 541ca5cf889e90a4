// Every hedge, page by page: what is held and why, when it will close, and what it has earned and cost.

import { get } from "../api.js";
import { age, getNow, setAge } from "../clock.js";
import { Pager, Table, panel } from "../dom.js";
import { coins, duration, time, tone, trader, usd, words } from "../format.js";

const LENGTH = 50;
const INTERVAL_MS = 3000;
const key = (row) => `${row.market}|${row.position_id}`;

/** Why it is there, and what has to happen before it goes. */
function describeEnd(row) {
  if (row.status !== "OPEN") return `an order is in flight (${words(row.status.toLowerCase())})`;
  if (row.closes_at) return `in ${duration(row.closes_at - getNow())}, at ${time(row.closes_at, getNow())} UTC, unless the risk comes back`;
  return "a while after its risk, or with its position";
}

const describeFees = (row) => [usd(row.fees_usd), ...Object.entries(row.other_fees).map(([asset, paid]) => `${coins(paid)} ${asset}`)].join(" + ");

export function buildHedges() {
  const { section, body } = panel("hedges", "Hedges", { wide: true });
  const ages = new Map();
  let [rows, total, readAt, isReading] = [null, 0, -Infinity, false];
  const table = new Table("Hedges", [
    { title: "Market", keep: true, cell: (row) => row.market },
    { title: "Trader", keep: true, cell: (row) => trader(row.position_id) },
    { title: "Side", keep: true, cell: (row) => row.side },
    { title: "Quantity", number: true, cell: (row) => (row.quantity === row.target ? coins(row.quantity) : `${coins(row.quantity)} of ${coins(row.target)}`) },
    { title: "Age", number: true, cell: (row) => ages.get(key(row)) },
    { title: "Opened because of", long: true, cell: (row) => words(row.reason) },
    { title: "Now", keep: true, cell: (row) => words(row.decision) || "–" },
    { title: "Closes", long: true, cell: describeEnd },
    { title: "Profit, USD", number: true, cell: (row) => usd(row.profit_usd, { signed: true }), tone: (row) => tone(row.profit_usd) },
    { title: "Fees, USD", number: true, cell: describeFees },
    { title: "Funding, USD", number: true, cell: (row) => usd(row.funding_usd, { signed: true }), tone: (row) => tone(row.funding_usd) },
  ], key, "No hedges are held.");
  const pager = new Pager("hedges", LENGTH, read);
  body.append(table.element, pager.element);

  function show() {
    if (!rows) return;
    const { offset } = pager;
    pager.update(total);
    if (pager.offset !== offset) read();
    for (const row of rows) {
      if (!ages.has(key(row))) ages.set(key(row), age());
      setAge(ages.get(key(row)), row.opened_at);
    }
    table.update(rows);
  }
  function take(page) {
    [rows, total] = [page.hedges, page.total];
    const held = new Set(rows.map(key));
    for (const name of ages.keys()) if (!held.has(name)) ages.delete(name);
    show();
  }

  /** The stream brings the first page; the others are asked for. */
  async function read() {
    if (isReading) return;
    isReading = true;
    readAt = performance.now();
    const { offset } = pager;
    try {
      const page = await get("/api/v1/hedges", { offset, limit: LENGTH });
      if (offset === pager.offset) take(page);
    } catch {
      // The stream falls silent as well then, and the page says so.
    } finally {
      isReading = false;
    }
    if (offset !== pager.offset) read();
  }
  function onTick() {
    show();
    if (pager.offset && !document.hidden && performance.now() - readAt > INTERVAL_MS) read();
  }
  function showFirst(page) {
    if (!pager.offset) take(page);
  }
  return { section, on: { hedges: showFirst }, onTick };
}
