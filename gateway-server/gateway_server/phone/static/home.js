/** Photos are added, looked at, sent, and listed with what became of them. */

import { forgetPicture, icon, make, part, pictureOf } from "./elements.js";
import { say } from "./texts.js";

const MODEL = "heatmap";

export async function showHome(app, isSignedIn) {
  bringOnce(app);
  const photos = (await app.photos()).filter((one) => !one.pairOf);
  tellWaiting(photos);
  if (!isSignedIn) return;
  const numbered = photos.map((photo, index) => ({ photo, number: index + 1 }));
  const drafts = numbered.filter(({ photo }) => photo.state === "draft");
  const sent = numbered.filter(({ photo }) => photo.state !== "draft").reverse();
  part("drafts").hidden = !drafts.length;
  part("sent").hidden = !sent.length;
  part("send").disabled = drafts.some(({ photo }) => isUnchecked(photo));
  part("send").textContent = drafts.length === 1 ? say("send.one") : say("send.many", { n: drafts.length });
  keepInStep(part("draft-list"), drafts, (one) => draftRow(app, one));
  keepInStep(part("sent-list"), sent, (one) => sentRow(app, one));
  await tellQueue(app, photos);
}

let isBrought = false;

function bringOnce(app) {
  if (isBrought) return;
  isBrought = true;
  for (const id of ["take", "pick"]) {
    part(id).addEventListener("change", async () => {
      const files = [...part(id).files];
      part(id).value = "";
      await add(app, files);
    });
  }
  part("send").addEventListener("click", () => sendDrafts(app));
}

async function add(app, files) {
  const owner = (await app.store.fact("who")).id;
  const photos = files.map((blob) => ({
    owner,
    key: crypto.randomUUID(), // its Idempotency-Key, for good
    blob,
    model: MODEL,
    state: "draft",
    hints: null,
    addedAt: Date.now(),
  }));
  part("add-problem").hidden = true;
  let orders;
  try {
    orders = await app.store.add(photos);
  } catch {
    part("add-problem").textContent = say("add.failed");
    part("add-problem").hidden = false;
    return;
  }
  navigator.storage?.persist?.();
  await app.show();
  for (const [index, order] of orders.entries()) await check(app, { ...photos[index], order });
}

/** The page was closed while it looked at them. */
export async function checkLeftBehind(app) {
  for (const photo of (await app.photos()).filter(isUnchecked)) await check(app, photo);
}

/** Another page may have done so and sent it meanwhile: what was sent stays as it is. */
async function check(app, photo) {
  const told = await app.checker.check(photo.blob);
  forgetPicture(photo);
  await app.store.change(photo.order, told, isUnchecked);
  await app.show();
}

function isUnchecked({ state, hints }) {
  return state === "draft" && hints === null;
}

async function sendDrafts(app) {
  for (const photo of await app.photos()) {
    if (photo.state === "draft") await app.store.change(photo.order, { state: "waiting" });
  }
  await app.show();
  await app.workLater();
}

export async function discard(app, photo) {
  const others = (await app.store.photos()).filter((one) => one.pairOf === photo.key);
  for (const one of [photo, ...others]) {
    forgetPicture(one);
    await app.store.discard(one.order);
  }
  await app.show();
}

function draftRow(app, { photo, number }) {
  const label = say("discard.photo", { n: number });
  return make(
    "li",
    { class: "photo" },
    thumbnail(photo, number),
    make("div", { class: "told" }, ...hintsOf(photo)),
    make("button", { class: "round", "aria-label": label, title: label, onclick: () => discard(app, photo) }, icon("cross")),
  );
}

function hintsOf(photo) {
  if (photo.hints === null) return [make("p", { class: "quiet" }, say("checking"))];
  if (!photo.hints.length) return [make("p", { class: "good" }, say("looks-good"))];
  return photo.hints.map((hint) => make("p", { class: "hint" }, say(`hint.${hint}`)));
}

function sentRow(app, { photo, number }) {
  const share = app.progress.get(photo.order);
  const told = stateInWords(photo, share);
  const bar = share === undefined ? null : make("progress", { max: 1, value: share, "aria-label": told });
  return make(
    "li",
    {},
    make(
      "a",
      { class: "photo", href: `#/photo/${photo.order}`, "aria-label": say("open", { n: number, state: told }) },
      thumbnail(photo, number),
      make("div", { class: "told" }, make("p", { class: `state ${kindOf(photo)}` }, told), bar),
    ),
  );
}

export function stateInWords(photo, share) {
  if (share !== undefined) return say("state.sending", { percent: Math.round(100 * share) });
  return say(`state.${kindOf(photo)}`);
}

function kindOf(photo) {
  if (photo.state !== "done") return photo.state;
  return photo.answer.verdict === "lead" ? "done.lead" : "done.no-lead";
}

function thumbnail(photo, number) {
  return make("img", { class: "thumb", src: pictureOf(photo), alt: say("photo.alt", { n: number }), width: 72, height: 72 });
}

/** Rows that look as they did stay as they are: no flicker, and the focus stays where it is. */
function keepInStep(list, things, row) {
  const wanted = things.map((thing) => row(thing));
  wanted.forEach((element, index) => {
    const there = list.children[index];
    if (!there) list.append(element);
    else if (there.outerHTML !== element.outerHTML) there.replaceWith(element);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
}

function tellWaiting(photos) {
  const n = photos.filter((one) => one.state === "waiting").length;
  part("sign-in-waiting").hidden = !n;
  part("sign-in-waiting").textContent = say("sign-in.waiting", { n });
}

async function tellQueue(app, photos) {
  const n = photos.filter((one) => one.state === "waiting").length;
  const pause = await app.store.fact("pause");
  const isPaused = Boolean(n && pause && pause.until > Date.now());
  part("queue").hidden = !isPaused;
  if (!isPaused) return;
  const s = Math.ceil((pause.until - Date.now()) / 1000);
  part("queue").textContent = say(pause.why === "busy" ? "queue.busy" : "queue.offline", { n, s });
}
