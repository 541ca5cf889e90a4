// Turns what the API says into what people read. Money stays text: it is cut and grouped, and never made a float.

const PLAIN = /^(-?)(\d+)(?:\.(\d+))?$/;

/** "-1234.5678" to "−1,234.56"; what is not a plain number is shown as it is. */
export function amount(text, places = 2, { signed = false } = {}) {
  const match = PLAIN.exec(String(text ?? ""));
  if (!match) return text === null || text === undefined ? "–" : String(text);
  const [, minus, whole, fraction = ""] = match;
  const cut = fraction.slice(0, places).padEnd(Math.min(places, 2), "0");
  const isZero = /^0*$/.test(whole + cut);
  const sign = isZero ? "" : minus ? "−" : signed ? "+" : "";
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (cut ? `.${cut}` : "");
}

export const usd = (text, options) => amount(text, 2, options);

/** Up to eight places, without the zeros behind. */
export const coins = (text, options) => amount(text, 8, options).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

/** "good" for a gain, "bad" for a loss. */
export const tone = (text) => (/^-?[0.]*$/.test(String(text ?? "")) ? "" : String(text).startsWith("-") ? "bad" : "good");

/** Basis points as percent: "-125" to "−1.25 %". */
export function percent(bps) {
  const number = Number(bps);
  return Number.isFinite(number) ? `${number < 0 ? "−" : "+"}${Math.abs(number / 100).toFixed(2)} %` : "–";
}

/** Seconds as "4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(seconds) {
  const s = Math.max(Math.round(seconds), 0);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** A time of day in UTC, with the day where it is not today. */
export function time(at, now) {
  const text = new Date(at * 1000).toISOString();
  const isToday = Math.floor(at / 86400) === Math.floor(now / 86400);
  return isToday ? text.slice(11, 19) : `${text.slice(0, 10)} ${text.slice(11, 19)}`;
}

/** "vault_drawdown+shield_pnl_risk" to "vault drawdown, shield pnl risk". */
export const words = (text) => String(text ?? "").replaceAll("_", " ").replaceAll("+", ", ");

/** "0x12345678…" to "0x1234…5678": of the trader, without the asset. */
export function trader(positionId) {
  const user = String(positionId ?? "").split("|")[0];
  return user.length > 13 ? `${user.slice(0, 6)}…${user.slice(-4)}` : user;
}
