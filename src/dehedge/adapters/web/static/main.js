// Puts the panels together, hands them what the daemon says, and tells what is stale.

import { getNow, refreshAges, setNow } from "./clock.js";
import { SILENCE_S, Stream } from "./stream.js";
import { buildBanner } from "./panels/banner.js";
import { buildCharts } from "./panels/charts.js";
import { buildEvents } from "./panels/events.js";
import { buildExposure } from "./panels/exposure.js";
import { buildFunds } from "./panels/funds.js";
import { buildHedges } from "./panels/hedges.js";
import { buildInputs, findStale } from "./panels/inputs.js";
import { buildPositions } from "./panels/positions.js";
import { buildTrips } from "./panels/trips.js";
import { buildWhatif } from "./panels/whatif.js";

const TICK_MS = 500;

/** What the daemon said last, by topic, and which paths it has. */
const known = { has: (path) => (known.hello?.paths ?? []).includes(path) };

const banner = buildBanner(document.getElementById("banner"));
const panels = [
  buildFunds(), buildInputs(), buildTrips(known), buildExposure(), buildHedges(), buildCharts(),
  buildPositions(known), buildWhatif(known), buildEvents(),
];
document.getElementById("main").append(...panels.map((panel) => panel.section));

const listeners = [banner, ...panels];
const stream = new Stream(
  (topic, content) => {
    known[topic] = content;
    if (topic === "beat") setNow(content.now);
    for (const listener of listeners) listener.on?.[topic]?.(content);
  },
  () => listeners.forEach((listener) => listener.onOpen?.()),
);

function tick() {
  refreshAges();
  const isSilent = stream.silentS > SILENCE_S;
  const stale = known.inputs ? findStale(known.inputs.inputs, getNow()) : [];
  document.body.classList.toggle("silent", isSilent);
  document.body.classList.toggle("inputs-stale", stale.length > 0);
  banner.showStale(isSilent ? stream.silentS : null, stale);
  if (!isSilent) listeners.forEach((listener) => listener.onTick?.());
}

setInterval(tick, TICK_MS);
