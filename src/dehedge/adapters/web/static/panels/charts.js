// Prices with hedges opened and closed, and vault and shield, over the last hours. Floats are good enough for pixels.

import { get } from "../api.js";
import { el, panel, setText } from "../dom.js";
import { amount } from "../format.js";

const HEIGHT = 220;
const MARKS = { hedge_opened: ["▲", "--good"], hedge_closed: ["▼", "--bad"] };
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clockTime = (at) => new Date(at * 1000).toISOString().slice(11, 19);
const number = (text) => (text === null || text === undefined ? null : Number(text));

const SPAN_MIN_S = 120;
const INCREMENTS_S = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200];
/** Room around a line that hardly moves. */
const widen = (_, low, high) => {
  if (low === null || high === null) return [0, 1];
  const room = Math.max((high - low) * 0.1, Math.abs(high) * 0.001, 1e-9);
  return [low - room, high + room];
};

/** Draws each hedge's opening and closing where it happened, on the line of the price. */
function drawMarks(chart, marks) {
  const { ctx } = chart;
  ctx.save();
  ctx.font = `${14 * devicePixelRatio}px sans-serif`;
  ctx.textAlign = "center";
  for (const mark of marks) {
    const [sign, tone] = MARKS[mark.kind] ?? [];
    const near = chart.data[0].length ? chart.valToIdx(mark.at) : null;
    const value = number(mark.price) ?? chart.data[1]?.[near];
    if (!sign || value === null || value === undefined || mark.at < chart.scales.x.min || mark.at > chart.scales.x.max) continue;
    ctx.fillStyle = color(tone);
    const isUp = sign === "▲";
    ctx.textBaseline = isUp ? "top" : "bottom";
    ctx.fillText(sign, chart.valToPos(mark.at, "x", true), chart.valToPos(value, "y", true));
  }
  ctx.restore();
}

class Chart {
  constructor(label, lines, getMarks = () => []) {
    this.lines = lines;
    this.getMarks = getMarks;
    this.data = [[], ...lines.map(() => [])];
    this.caption = el("figcaption", {});
    this.root = el("div", { class: "chart", role: "img", "aria-label": label });
    this.element = el("figure", {}, this.root, this.caption);
    new ResizeObserver(() => this.plot?.setSize({ width: this.root.clientWidth, height: HEIGHT })).observe(this.root);
    document.addEventListener("themechange", () => this.build());
  }

  build() {
    this.plot?.destroy();
    if (!this.root.clientWidth) return;
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
    const scales = [...new Set(this.lines.map(({ scale }) => scale ?? "y"))];
    this.plot = new uPlot({
      width: this.root.clientWidth,
      height: HEIGHT,
      scales: { x: { time: false, range: (_, low, high) => [Math.min(low, high - SPAN_MIN_S), high] }, ...Object.fromEntries(scales.map((scale) => [scale, { range: widen }])) },
      axes: [{ ...axis, space: 80, incrs: INCREMENTS_S, values: (_, splits) => splits.map(clockTime) }, ...scales.map((scale, place) => ({ ...axis, scale, side: place ? 1 : 3, size: 80, grid: place ? { show: false } : axis.grid }))],
      series: [
        { label: "UTC", value: (_, at) => (at === null ? "–" : clockTime(at)) },
        ...this.lines.map(({ label, tone, scale = "y", dash }) => ({ label, scale, dash, stroke: color(tone), width: 2, points: { show: false } })),
      ],
      hooks: { draw: [(chart) => drawMarks(chart, this.getMarks())] },
    }, this.data, this.root);
  }

  update(data, caption) {
    this.data = data;
    if (this.plot) this.plot.setData(data);
    else this.build();
    setText(this.caption, caption);
  }
}

function describePrices(market, prices, marks) {
  const seen = prices.filter((price) => price !== null);
  if (!seen.length) return `${market}: no price yet`;
  const count = (kind) => marks.filter((mark) => mark.kind === kind).length;
  return `${market} ${amount(String(seen.at(-1)))}, between ${amount(String(Math.min(...seen)))} and ${amount(String(Math.max(...seen)))}; `
    + `hedges: ▲ ${count("hedge_opened")} opened, ▼ ${count("hedge_closed")} closed`;
}

export function buildCharts() {
  const { section, body } = panel("charts", "Prices and vault", { needs: "stream inputs", wide: true });
  let series = null;
  let market = null;
  let events = null;
  const choice = el("select", { "aria-label": "Market of the chart" });
  const prices = new Chart("Price of the market, with hedges opened and closed", [{ label: "Price", tone: "--accent" }], getMarks);
  const funds = new Chart("Vault and shield", [{ label: "Vault", tone: "--accent" }, { label: "Shield", tone: "--warn", scale: "shield", dash: [8, 6] }]);
  body.append(el("label", { class: "choice" }, el("span", {}, "Market"), choice), el("div", { class: "charts" }, prices.element, funds.element));
  choice.addEventListener("change", () => { market = choice.value; read(); });

  async function read() {
    try {
      series = await get("/api/v1/series", market ? { market } : {});
    } catch {
      return; // The stream falls silent as well then, and the page says so.
    }
    showMarkets(series.markets);
  }

  function showMarkets(markets) {
    market = markets.includes(market) ? market : markets[0] ?? null;
    if (markets.join() !== choice.dataset.shown) {
      choice.dataset.shown = markets.join();
      choice.replaceChildren(...markets.map((name) => el("option", { value: name, selected: name === market }, name)));
    }
  }

  /** Those of the market that is shown; the first reading is of all. */
  function getMarks() {
    return (series?.marks ?? []).filter((mark) => mark.market === market);
  }

  /** The samples, and behind them the moment. */
  function showNow(now) {
    if (!series) return;
    if (!market) showMarkets(Object.keys(now.prices));
    if (!market) return;
    const times = [...series.times, now.at];
    const line = [...(series.prices[market] ?? series.times.map(() => null)), now.prices[market] ?? null].map(number);
    prices.update([times, line], describePrices(market, line, getMarks()));
    funds.update(
      [times, [...series.vault, now.vault].map(number), [...series.shield, now.shield].map(number)],
      `Vault ${amount(now.vault)} USDC, shield ${amount(now.shield)} USDC`,
    );
    if (now.at - (series.times.at(-1) ?? 0) >= series.step_s + 1) keep(now);
  }

  function keep(now) {
    series.times.push(now.at);
    series.vault.push(now.vault);
    series.shield.push(now.shield);
    for (const [name, values] of Object.entries(series.prices)) values.push(now.prices[name] ?? null);
  }

  /** Something happened: perhaps a hedge was opened or closed. */
  function onEvents({ count }) {
    if (events !== null && count !== events) read();
    events = count;
  }
  return { section, on: { now: showNow, events: onEvents }, onOpen: read };
}
