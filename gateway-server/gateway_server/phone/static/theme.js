/** Light, dark, or as the phone has it. */

import { part } from "./elements.js";

const CHOSEN = "reunite-theme";

export function bringTheme() {
  const choice = part("theme");
  choice.value = localStorage.getItem(CHOSEN) ?? "auto";
  document.documentElement.dataset.theme = choice.value;
  choice.addEventListener("change", () => {
    localStorage.setItem(CHOSEN, choice.value);
    document.documentElement.dataset.theme = choice.value;
  });
}
