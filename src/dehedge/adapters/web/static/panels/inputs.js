// Where each input stands, and how old it is; ages tick here, whether the daemon says anything or not.

import { age, getNow, setAge } from "../clock.js";
import { Table, panel } from "../dom.js";
import { duration } from "../format.js";

const isOld = ({ at, max_age_s: limit }, now) => limit !== null && (at === null || now - at > limit);

/** The inputs that are older than they may be. */
export const findStale = (inputs, now) => inputs.filter((input) => isOld(input, now));

function describe(input) {
  if (!isOld(input, getNow())) return input.error ?? "ok";
  const state = input.at === null ? "nothing yet" : "stale";
  return input.error ? `${state}: ${input.error}` : state;
}

export function buildInputs() {
  const { section, body } = panel("inputs", "Inputs");
  const ages = new Map();
  let latest = [];
  const table = new Table("Inputs and their ages", [
    { title: "Input", cell: (row) => row.name },
    { title: "Age", number: true, cell: (row) => ages.get(row.name) },
    { title: "At most", number: true, cell: (row) => (row.max_age_s === null ? "–" : duration(row.max_age_s)) },
    { title: "State", cell: describe, tone: (row) => (describe(row) === "ok" ? "good" : "bad") },
  ], (row) => row.name, "Nothing is known of the inputs yet.");
  body.append(table.element);

  function showInputs({ inputs }) {
    latest = inputs;
    for (const { name, at } of inputs) {
      if (!ages.has(name)) ages.set(name, age());
      setAge(ages.get(name), at);
    }
    table.update(inputs);
  }
  return { section, on: { inputs: showInputs }, onTick: () => table.update(latest) };
}
