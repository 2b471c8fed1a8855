/** What the page says, in English and Korean. */

const LANGUAGES = ["en", "ko"];
const CHOSEN = "reunite-language";
let texts = {};

export function language() {
  const chosen = localStorage.getItem(CHOSEN);
  if (LANGUAGES.includes(chosen)) return chosen;
  const spoken = navigator.languages.map((tag) => tag.slice(0, 2));
  return spoken.find((tag) => LANGUAGES.includes(tag)) ?? LANGUAGES[0];
}

export function choose(tag) {
  localStorage.setItem(CHOSEN, tag);
}

/** Reads the texts, and writes those that the page's own elements name. */
export async function speak() {
  texts = await (await fetch(new URL(`texts/${language()}.json`, import.meta.url))).json();
  document.documentElement.lang = language();
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
}

export function say(name, values = {}) {
  const text = texts[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, value) => shown(values[value]));
}

export function knows(name) {
  return name in texts;
}

export function shown(value) {
  return typeof value === "number" ? new Intl.NumberFormat(language()).format(value) : String(value ?? "");
}
