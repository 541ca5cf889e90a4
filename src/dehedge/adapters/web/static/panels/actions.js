// Pause, resume, flatten: each asks for the token and for its own name, typed, and shows what the daemon answers.

import { post } from "../api.js";
import { button, el, setText } from "../dom.js";

const EFFECTS = {
  pause: "No new hedges are opened. At the stricter levels hedges are only reduced, or nothing at all is sent.",
  resume: "What is at risk is hedged again, and a flattening ends.",
  flatten: "Every hedge is closed at the market, and nothing is opened until you resume. The vault is bare then.",
};
const LEVELS = [
  ["no-opens", "no-opens: nothing new; hedges are resized and closed"],
  ["reduce-only", "reduce-only: hedges are only reduced and closed"],
  ["halted", "halted: nothing at all is sent"],
];

/** In memory only: a page that is closed or loaded again asks anew. */
let token = "";

function field(label, input) {
  return el("label", {}, el("span", {}, label), input);
}

export function openAction(name) {
  const opener = document.activeElement;
  const level = el("select", { name: "level" }, ...LEVELS.map(([value, text]) => el("option", { value }, text)));
  const reason = el("input", { name: "reason", maxlength: "200", autocomplete: "off" });
  const secret = el("input", { name: "token", type: "password", autocomplete: "off", required: true });
  const word = el("input", { name: "word", autocomplete: "off", autocapitalize: "off", spellcheck: "false", required: true });
  const send = el("button", { type: "submit", disabled: true, class: name === "flatten" ? "danger" : "primary" }, name);
  const answer = el("p", { class: "answer", role: "alert" });
  const form = el("form", {},
    el("h2", { id: "action-title" }, name[0].toUpperCase() + name.slice(1)),
    el("p", {}, EFFECTS[name]),
    name === "pause" ? field("Level", level) : null,
    field("Reason, for the log (optional)", reason),
    field("Token (HTTP_TOKEN)", secret),
    field(`Type “${name}” to confirm`, word),
    answer,
    el("div", { class: "actions" }, send, button("Close", () => dialog.close())),
  );
  const dialog = el("dialog", { "aria-labelledby": "action-title" }, form);
  secret.value = token;

  const isConfirmed = () => word.value.trim() === name && secret.value !== "";
  form.addEventListener("input", () => { send.disabled = !isConfirmed(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isConfirmed()) return;
    send.disabled = true;
    token = secret.value;
    const body = { reason: reason.value, ...(name === "pause" ? { level: level.value } : {}) };
    try {
      await post(`/api/v1/${name}`, body, token);
      answer.dataset.tone = "good";
      setText(answer, `Accepted: ${name} is recorded.`);
      word.value = "";
    } catch (error) {
      if (error.status === 401) token = "";
      answer.dataset.tone = "bad";
      setText(answer, `Refused: ${error.message}`);
      send.disabled = false;
    }
  });
  show(dialog, opener);
  (name === "pause" ? level : reason).focus();
}

/** Open a dialog that keeps the focus inside, closes by Escape, and gives the focus back. */
export function show(dialog, opener) {
  document.body.append(dialog);
  dialog.addEventListener("keydown", (event) => keepInside(dialog, event));
  dialog.addEventListener("close", () => {
    dialog.remove();
    opener?.focus();
  });
  dialog.showModal();
}

function keepInside(dialog, event) {
  if (event.key !== "Tab") return;
  const stops = [...dialog.querySelectorAll("button, input, select, [tabindex='0']")].filter((stop) => !stop.disabled);
  const [first, last] = [stops[0], stops.at(-1)];
  const isLeaving = document.activeElement === (event.shiftKey ? first : last);
  if (!isLeaving) return;
  event.preventDefault();
  (event.shiftKey ? last : first).focus();
}
