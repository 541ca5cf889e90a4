// The positions that are nearest to the price at which they turn risky.

import { get } from "../api.js";
import { Table, panel } from "../dom.js";
import { amount, percent, trader, usd } from "../format.js";

const PATH = "/api/v1/trips";
const SHOWN = 10;
const ASKED = 1000;
const INTERVAL_MS = 5000;
const key = (row) => `${row.market}|${row.position_id}`;

let trips = new Map();

/** Where a position trips, if that is known. */
export const getTrip = (row) => trips.get(key(row));

export function buildTrips(known) {
  const { section, body } = panel("trips", "Nearest to their trigger", { wide: true, needs: "stream inputs" });
  section.hidden = true;
  let readAt = -Infinity;
  const table = new Table("Positions nearest to their trigger", [
    { title: "Market", keep: true, cell: (row) => row.market },
    { title: "Trader", keep: true, cell: (row) => trader(row.position_id) },
    { title: "Side", keep: true, cell: (row) => (row.is_long ? "long" : "short") },
    { title: "Distance", number: true, cell: (row) => percent(row.distance_bps), tone: (row) => (row.is_at_risk ? "bad" : "") },
    { title: "Trigger", number: true, cell: (row) => amount(row.trigger_price) },
    { title: "Hedged", cell: (row) => (row.is_hedged ? "yes" : "no") },
    { title: "Size, USDC", number: true, cell: (row) => usd(row.size) },
  ], key, "No position has a price at which it turns risky.");
  body.append(table.element);

  async function read() {
    readAt = performance.now();
    try {
      const found = (await get(PATH, { limit: ASKED })).trips;
      trips = new Map(found.map((row) => [key(row), row]));
      table.update(found.filter((row) => row.trigger_price !== null).slice(0, SHOWN));
    } catch {
      // The stream falls silent as well then, and the page says so.
    }
  }

  function onTick() {
    if (!known.has(PATH)) return;
    section.hidden = false;
    if (!document.hidden && performance.now() - readAt > INTERVAL_MS) read();
  }
  return { section, onTick };
}
