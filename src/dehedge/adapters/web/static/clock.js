// The daemon's time, as far as this page knows it: ages do not depend on this machine's clock, and go on when nothing comes.

import { el, setText } from "./dom.js";
import { duration } from "./format.js";

let offset = Date.now() / 1000 - performance.now() / 1000;

export const setNow = (now) => { offset = now - performance.now() / 1000; };

/** Seconds since 1970. */
export const getNow = () => performance.now() / 1000 + offset;

/** An element whose text is the age of something, and grows by itself. */
export function age(at = null) {
  const element = el("span", { class: "age" });
  setAge(element, at);
  return element;
}

export function setAge(element, at) {
  element.dataset.at = at ?? "";
  refresh(element);
}

function refresh(element) {
  setText(element, element.dataset.at ? duration(getNow() - Number(element.dataset.at)) : "–");
}

/** Bring every age on the page up to date. */
export function refreshAges() {
  document.querySelectorAll(".age").forEach(refresh);
}
