// The state in words: what is traded on, whether it hedges, what is wrong and since when, and the operator's three commands.

import { getNow, age, setAge } from "../clock.js";
import { button, el, setText } from "../dom.js";
import { duration, time } from "../format.js";
import { buildSwitch } from "../theme.js";
import { openAction } from "./actions.js";

const ACCOUNTS = {
  paper: ["PAPER", "simulated fills, no real orders"],
  demo: ["DEMO", "the exchange's demo account"],
  mainnet: ["LIVE", "real orders"],
  custom: ["OWN ENDPOINT", "orders go where the configuration says"],
};
const MODES = {
  active: ["Active", "hedges are opened, resized and closed"],
  "no-opens": ["Paused", "no new hedges; what is held is resized and closed"],
  "reduce-only": ["Paused", "hedges are only reduced and closed"],
  halted: ["Halted", "nothing at all is sent"],
};

function describeMode(status) {
  const [title, meaning] = MODES[status.mode] ?? [status.mode, ""];
  return status.is_flattening ? ["Flattening", "every hedge is being closed, nothing is opened"] : [title, meaning];
}

export function buildBanner(root) {
  const account = el("strong", { class: "account" }, "…");
  const accountNote = el("span", { class: "muted" });
  const mode = el("strong", { class: "mode" }, "Connecting");
  const modeNote = el("span", {}, "waiting for the daemon");
  const since = age();
  const sinceLine = el("span", { class: "muted" }, "for ", since);
  const health = el("strong", { class: "health" });
  const reasons = el("ul", { class: "reasons" });
  const stale = el("p", { class: "stale-line", hidden: true });
  const alarm = el("p", { class: "heard", role: "alert" });
  const actions = ["pause", "resume", "flatten"].map((name) => button(`${name[0].toUpperCase()}${name.slice(1)}…`, () => openAction(name), { "data-action": name }));
  root.append(
    el("div", { class: "bar" },
      el("h1", {}, "dehedge"),
      el("p", { class: "line" }, account, " ", accountNote),
      el("p", { class: "line", role: "status" }, mode, " ", modeNote, " ", health),
      el("p", { class: "line" }, sinceLine),
      el("div", { class: "actions" }, ...actions, buildSwitch()),
    ),
    stale,
    alarm,
    reasons,
  );
  sinceLine.hidden = true;

  let last = null;
  let isUnknown = false;

  function showStatus(status) {
    last = status;
    isUnknown = false;
    const [title, meaning] = describeMode(status);
    setText(mode, title);
    setText(modeNote, `(${meaning})`);
    mode.dataset.tone = title === "Active" ? "good" : title === "Halted" ? "bad" : "warn";
    sinceLine.hidden = !status.mode_since;
    setAge(since, status.mode_since);
    setText(health, status.ready ? "Ready" : title === "Active" ? "Degraded" : "Not hedging");
    health.dataset.tone = status.ready ? "good" : "bad";
    showReasons([...status.reasons, ...status.warnings]);
  }

  /** What a silent daemon does nobody knows: what it said last is no state of now. */
  function showUnknown() {
    if (!last || isUnknown) return;
    isUnknown = true;
    setText(mode, "Unknown");
    mode.dataset.tone = "bad";
    setText(modeNote, `(last known: ${describeMode(last)[0]}, ${last.ready ? "ready" : "not ready"})`);
    setText(health, "");
    sinceLine.hidden = true;
  }

  function showReasons(lines) {
    if (lines.join("\n") === reasons.dataset.shown) return;
    reasons.dataset.shown = lines.join("\n");
    reasons.replaceChildren(...lines.map((line) => el("li", {}, line)));
  }

  function showHello({ account: name, endpoint }) {
    const [title, meaning] = ACCOUNTS[name] ?? [name, ""];
    setText(account, title);
    setText(accountNote, endpoint ? `${meaning} (own endpoints: ${endpoint})` : meaning);
    account.dataset.account = name;
    document.title = `${title} · dehedge`;
  }

  /** `silentS` is null while the daemon speaks; `inputs` are those that are too old. */
  function showStale(silentS, inputs) {
    if (silentS !== null) showUnknown();
    else if (isUnknown) showStatus(last);
    const now = getNow();
    const told = silentS !== null
      ? [`Nothing from the daemon since ${time(now - silentS, now)} UTC (${duration(silentS)}). What is shown is of then.`]
      : inputs.map(({ name, at }) => at === null
        ? `Stale: ${name} has not been read yet.`
        : `Stale: ${name} is of ${time(at, now)} UTC (${duration(now - at)} old).`);
    // Announced when it begins; the age that ticks afterwards is not.
    setText(alarm, told.length ? "What is shown is stale." : "");
    stale.hidden = told.length === 0;
    setText(stale, told.join(" "));
  }

  return { on: { status: showStatus, hello: showHello }, showStale };
}
