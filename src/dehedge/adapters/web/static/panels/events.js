// What happened lately: orders, hedges, the kill switch, laws and inputs; newest first.

import { get } from "../api.js";
import { getNow } from "../clock.js";
import { Table, panel } from "../dom.js";
import { time, trader, words } from "../format.js";

const SHOWN = 100;
const TONES = { warning: "warn", critical: "bad" };

export function buildEvents() {
  const { section, body } = panel("events", "Orders and events", { wide: true });
  let newest = 0;
  let events = [];
  let isReading = false;
  const table = new Table("Orders and events, newest first", [
    { title: "Time, UTC", cell: (row) => time(row.at, getNow()) },
    { title: "What", keep: true, cell: (row) => words(row.kind), tone: (row) => TONES[row.level] ?? "" },
    { title: "Of", keep: true, cell: (row) => [row.market || row.symbol, trader(row.position_id)].filter(Boolean).join(" ") || "–" },
    { title: "Details", cell: (row) => row.text },
  ], (row) => row.id, "Nothing has happened yet.");
  body.append(table.element);

  async function read(count) {
    if (isReading || count === newest) return;
    isReading = true;
    // A smaller number is that of another daemon: everything anew.
    if (count < newest) [events, newest] = [[], 0];
    try {
      const found = (await get("/api/v1/events", { after: newest })).events;
      const named = found.map((row, place) => ({ ...row, id: `${row.number}/${place}` }));
      events = [...named.reverse(), ...events].slice(0, SHOWN);
      newest = Math.max(newest, ...found.map((row) => row.number), count);
      table.update(events);
    } catch {
      // The next count asks again.
    } finally {
      isReading = false;
    }
  }
  return { section, on: { events: ({ count }) => read(count) } };
}
