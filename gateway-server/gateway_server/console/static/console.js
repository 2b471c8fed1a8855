// What every page does: the token of changes, times in the reader's zone, idle sign-out, one key for each button.

const token = document.querySelector('meta[name="csrf-token"]').content;
const NO_KEYS = "input, select, textarea, [contenteditable]";
const UNATTENDED = { "X-Unattended": "1", Accept: "application/json" };

/** fetch, with the token that changes need. */
export function send(address, options = {}) {
  const headers = { "X-CSRF-Token": token, ...options.headers };
  return fetch(address, { credentials: "same-origin", ...options, headers });
}

/** The name of something that is to be done once, however often it is asked for. */
export function newKey() {
  return crypto.randomUUID?.() ?? String(Math.random());
}

/** For good; without an answer, or told to come again, the key stays: it may have been done. */
export function isRefused(status, retryAfter) {
  return status >= 400 && status < 500 && !retryAfter;
}

/** What the server's templates wrote, or that no answer came: nothing else becomes a part of the page. */
export function htmlOf(text, contentType) {
  return contentType?.startsWith("text/html") ? text : document.querySelector("[data-unanswered]").innerHTML;
}

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = token;
  if (event.detail.elt.closest("[data-unattended]")) event.detail.headers["X-Unattended"] = "1";
});

/** A form marked data-once keeps its key until it is answered, or says something else. */
const keys = new WeakMap();
document.addEventListener("change", (event) => keys.delete(event.target.form));
document.addEventListener("htmx:configRequest", ({ detail: { elt, headers } }) => {
  if (!elt.matches("form[data-once]")) return;
  if (!keys.has(elt)) keys.set(elt, newKey());
  headers["Idempotency-Key"] = keys.get(elt);
});
document.addEventListener("htmx:afterRequest", ({ detail: { elt, successful, xhr } }) => {
  if (successful || isRefused(xhr.status, xhr.getResponseHeader("Retry-After"))) keys.delete(elt);
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (!event.detail.elt.closest("[data-unattended]")) document.querySelector("#notices").replaceChildren();
});
document.addEventListener("htmx:sendError", ({ detail: { elt } }) => {
  if (!elt.closest("[data-unattended]")) document.querySelector("#notices").innerHTML = htmlOf("", null);
});

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const options = { dateStyle: "medium", timeStyle: "short" };
    time.title = time.textContent;
    time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang, options);
    time.dataset.local = "";
  }
}

localise(document);
document.addEventListener("htmx:afterSwap", (event) => localise(event.detail.target.parentElement ?? document));

/** data-key="s" on a button or link: that key presses it, unless somebody is writing. */
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(NO_KEYS)) return;
  const pressed = document.querySelector(`[data-key="${CSS.escape(event.key)}"]:not([disabled])`);
  if (!pressed) return;
  event.preventDefault();
  pressed.click();
});

/** Nobody's screen keeps on showing people: the page goes when its session has. */
const idleS = Number(document.body.dataset.idleS);
if (idleS) {
  const look = async () => {
    const answer = await fetch("/console/session", { headers: UNATTENDED }).catch(() => null);
    if (answer?.status === 401) location.assign(`/console/sign-in?next=${encodeURIComponent(location.pathname)}`);
  };
  setInterval(look, Math.min(idleS / 4, 60) * 1000);
}

/** A link from elsewhere comes without our cookie: whoever has signed in goes on by themselves. */
const signIn = document.querySelector("[data-sign-in]");
if (signIn && !signIn.querySelector(".notice")) {
  const answer = await fetch("/console/sign-in", { headers: UNATTENDED }).catch(() => null);
  if ((await answer?.json())?.is_signed_in) location.replace(signIn.dataset.next || "/console");
}
