// Every position of the newest snapshot, page by page, with what was decided of it and how far its trigger is.

import { get } from "../api.js";
import { Pager, Table, button, panel } from "../dom.js";
import { amount, percent, tone, trader, usd, words } from "../format.js";
import { openExplanation } from "./explain.js";
import { getTrip } from "./trips.js";

const LENGTH = 50;
const INTERVAL_MS = 3000;
const key = (row) => `${row.market}|${row.position_id}`;

/** "RefreshHedge" to "refresh hedge". */
const describeDecision = (name) => (name ?? "–").replace(/(?<!^)(?=[A-Z])/g, " ").toLowerCase();

function describeTrigger(row) {
  const trip = getTrip(row);
  if (!trip) return "–";
  return trip.trigger_price === null ? "no price" : `${percent(trip.distance_bps)} (at ${amount(trip.trigger_price)})`;
}

export function buildPositions(known) {
  const { section, body } = panel("positions", "Positions", { needs: "stream inputs", wide: true });
  let readAt = -Infinity;
  let isReading = false;
  const table = new Table("Positions", [
    { title: "Market", keep: true, cell: (row) => row.market },
    { title: "Trader", keep: true, cell: (row) => trader(row.position_id) },
    { title: "Side", keep: true, cell: (row) => (row.is_long ? "long" : "short") },
    { title: "Size, USDC", number: true, cell: (row) => usd(row.size) },
    { title: "Entry", number: true, cell: (row) => amount(row.entry_price) },
    { title: "Trader’s PnL", number: true, cell: (row) => usd(row.pnl, { signed: true }), tone: (row) => tone(row.pnl) },
    { title: "To its trigger", number: true, cell: describeTrigger },
    { title: "Hedged", cell: (row) => (row.hedged ? "yes" : "no") },
    { title: "Decision", keep: true, cell: (row) => describeDecision(row.decision) },
    { title: "Reason", cell: (row) => words(row.reason) || "–", tone: (row) => (row.at_risk ? "warn" : "") },
    { title: "Why", cell: buildWhy },
  ], key, "The newest snapshot has no positions.");
  const pager = new Pager("positions", LENGTH, () => read());
  body.append(table.element, pager.element);

  function buildWhy(row) {
    if (!known.has("/api/v1/explain")) return "–";
    return button("Explain", () => openExplanation(row), { "aria-label": `Explain ${row.market} ${trader(row.position_id)}` });
  }

  async function read() {
    if (isReading) return;
    isReading = true;
    readAt = performance.now();
    try {
      const { positions } = await get("/api/v1/positions", { offset: pager.offset, limit: LENGTH });
      table.update(positions);
      pager.update(known.status?.snapshot?.positions ?? positions.length);
    } catch {
      // The stream falls silent as well then, and the page says so.
    } finally {
      isReading = false;
    }
  }

  function onTick() {
    if (!document.hidden && performance.now() - readAt > INTERVAL_MS) read();
  }
  return { section, onTick, onOpen: read };
}
