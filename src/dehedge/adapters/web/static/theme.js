// Dark, light, or as the system says. The choice is all that this page ever stores.

import { button, setText } from "./dom.js";

const THEMES = ["auto", "dark", "light"];
const KEY = "dehedge-theme";

export function buildSwitch() {
  let theme = THEMES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "auto";
  const element = button("", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem(KEY, theme);
    show();
  });
  function show() {
    document.documentElement.dataset.theme = theme;
    setText(element, `Theme: ${theme}`);
    document.dispatchEvent(new Event("themechange"));
  }
  show();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  return element;
}
