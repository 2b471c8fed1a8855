/** One photo and what came of it: five people, scores in words, a thumb for each, both models. */

import { discard } from "./home.js";
import { icon, make, part, pictureOf } from "./elements.js";
import * as gateway from "./gateway.js";
import { judgeFollowed } from "./sender.js";
import { knows, say } from "./texts.js";
import { chanceInWords, confidenceInWords, percent } from "./words.js";

const OTHER = { heatmap: "base", base: "heatmap" };
let shown = "";

export async function showPhoto(app, order) {
  const photos = await app.photos();
  const photo = photos.find((one) => one.order === order);
  if (!photo) return void (location.hash = "#/");
  const pair = photos.find((one) => one.pairOf === photo.key) ?? null;
  const state = JSON.stringify([order, photo.state, namesIn(photo), pair?.state, document.documentElement.lang]);
  if (state === shown && part("photo").childElementCount) return; // as it was: thumbs stay pressed
  shown = state;
  part("photo").replaceChildren(...contents(app, photo, pair));
}

/** Who was deleted, and what is kept no longer, leaves the phone as well. */
export async function renewAnswer(app, order) {
  const photo = (await app.photos()).find((one) => one.order === order);
  if (photo?.state !== "done") return;
  const answer = await gateway.look(photo.searchId);
  const told = judgeFollowed(answer, 0, photo.endedAt).photo;
  const isOurs = answer.body?.id || answer.body?.type; // not a hotspot's page
  if (!told.state || !isOurs) return;
  await app.store.change(order, { answer: null, ...told });
  await app.show();
}

function namesIn(photo) {
  return photo.answer?.candidates?.map((one) => one.name);
}

function contents(app, photo, pair) {
  if (photo.state === "done") return answerOf(app, photo, pair);
  if (photo.state === "refused") return refusalOf(app, photo);
  const note = photo.state === "following" ? "pending.note" : "waiting.note";
  return [make("h1", {}, say(`state.${photo.state}`)), probeOf(photo), make("p", { class: "notice" }, say(note))];
}

function refusalOf(app, photo) {
  const { slug, detail } = photo.reason;
  const why = knows(`refused.${slug}`) ? say(`refused.${slug}`) : say("refused.other", { detail });
  const button = make("button", { class: "button plain", onclick: () => discardAndLeave(app, photo) }, say("forget"));
  return [
    make("h1", {}, say("refused.title")),
    make("p", { class: "problem" }, why),
    probeOf(photo),
    make("p", { class: "quiet" }, say("refused.kept")),
    make("div", { class: "actions" }, button),
  ];
}

async function discardAndLeave(app, photo) {
  await discard(app, photo);
  location.hash = "#/";
}

function answerOf(app, photo, pair) {
  const { answer } = photo;
  const isLead = answer.verdict === "lead";
  const m = answer.gallery?.persons ?? 0;
  const cards = answer.candidates.map((one) => card(app, photo, one, m));
  return [
    make("h1", { class: isLead ? "lead-found" : "" }, say(isLead ? "result.lead" : "result.no-lead")),
    make("p", { class: "notice" }, say(isLead ? "result.lead.note" : "result.no-lead.note", { m })),
    probeOf(photo),
    make("h2", {}, say("result.candidates")),
    cards.length ? heatControl() : make("p", {}, say("result.nobody")),
    make("ol", { class: "candidates" }, ...cards),
    make("p", { class: "notice", id: "judged", role: "status", hidden: true }),
    comparison(app, photo, pair),
    make("div", { class: "actions" }, make("button", { class: "button plain", onclick: () => discardAndLeave(app, photo) }, say("forget"))),
  ];
}

/** The photo, the face that was searched for framed, and its heatmap over it. */
function probeOf(photo) {
  const face = photo.answer?.faces?.[photo.answer.face];
  const image = make("img", { src: pictureOf(photo), alt: say(face ? "result.probe.alt" : "result.probe") });
  const frame = make("div", { class: "frame" }, image);
  if (face) image.addEventListener("load", () => frame.append(boxAround(face.box, image)), { once: true });
  const words = [make("figcaption", {}, face ? say("result.quality", { quality: face.quality }) : say("result.probe"))];
  const figure = make("figure", { class: "probe" }, frame, ...words);
  if (!face) return figure;
  const heat = picture(`/v1/searches/${photo.searchId}/heatmap`, say("result.heat.probe"), "face heat-alone");
  return make("div", { class: "probes" }, figure, make("figure", { class: "probe" }, make("div", { class: "frame" }, heat), make("figcaption", {}, say("result.heat"))));
}

function boxAround([x, y, width, height], image) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`);
  svg.setAttribute("class", "box");
  svg.setAttribute("aria-hidden", "true");
  const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ x, y, width, height, rx: width / 12 })) box.setAttribute(name, value);
  svg.append(box);
  return svg;
}

function heatControl() {
  const slider = make("input", { type: "range", min: 0, max: 100, value: 0, id: "heat", "aria-describedby": "heat-note" });
  slider.addEventListener("input", () => fade(slider.value / 100));
  return make(
    "div",
    { class: "card heat" },
    make("label", { class: "field" }, make("span", {}, say("result.heat")), slider),
    make("p", { class: "quiet", id: "heat-note" }, say("result.heat.note")),
  );
}

/** The heatmaps are asked for when somebody wants to see them, and not before. */
function fade(opacity) {
  for (const image of document.querySelectorAll(".candidates .over")) {
    if (!image.src && opacity > 0) image.src = image.dataset.src;
    image.style.opacity = opacity;
  }
}

function card(app, photo, candidate, persons) {
  const name = candidate.name ?? say("result.deleted");
  const address = `/v1/searches/${photo.searchId}/candidates/${candidate.person_id}`;
  const face = picture(`${address}/photo?size=thumb`, say("result.face.alt", { name, rank: candidate.rank }), "face");
  const over = make("img", { class: "over", alt: "", "data-src": `${address}/heatmap` });
  over.addEventListener("error", () => over.remove());
  over.style.opacity = 0;
  return make(
    "li",
    { class: "candidate card" },
    make("div", { class: "frame" }, face, over, make("span", { class: "rank", "aria-hidden": "true" }, String(candidate.rank))),
    make(
      "div",
      { class: "words" },
      make("h3", {}, name),
      score(say("result.similarity"), candidate.similarity, candidate.similarity.toFixed(2)),
      score(say("result.confidence"), candidate.confidence, `${confidenceInWords(candidate.confidence)}, ${percent(candidate.confidence)}`),
      make("p", { class: "quiet" }, chanceInWords(candidate.expected_false_matches, persons)),
    ),
    candidate.name === null ? null : thumbs(app, photo, candidate, name),
  );
}

function score(label, value, words) {
  return make(
    "div",
    { class: "score" },
    make("span", {}, label),
    make("strong", {}, words),
    make("meter", { min: 0, max: 1, value: Math.max(0, value), "aria-label": `${label}: ${words}` }),
  );
}

function picture(src, alt, kind) {
  const image = make("img", { src, alt, class: kind });
  image.addEventListener("error", () => image.replaceWith(make("span", { class: `${kind} blank`, role: "img", "aria-label": alt })));
  return image;
}

function thumbs(app, photo, candidate, name) {
  const said = photo.verdicts?.[candidate.person_id];
  const buttons = ["same", "different"].map((verdict) =>
    make(
      "button",
      { class: `thumb-button ${verdict}`, "aria-pressed": String(said === verdict), "aria-label": say(`result.${verdict}.label`, { name }) },
      icon("thumb", verdict),
      make("span", {}, say(`result.${verdict}`)),
    ),
  );
  ["same", "different"].forEach((verdict, index) => {
    buttons[index].addEventListener("click", () => giveVerdict(app, photo, candidate, verdict, buttons, index));
  });
  return make("div", { class: "thumbs" }, ...buttons);
}

async function giveVerdict(app, photo, candidate, verdict, buttons, index) {
  const session = await gateway.session();
  const answer = session.body?.csrf_token
    ? await gateway.judge(photo.searchId, candidate.person_id, verdict, session.body.csrf_token)
    : session;
  const isKept = answer.status === 200 || answer.status === 201;
  if (isKept) {
    await app.keepVerdict(photo.order, candidate.person_id, verdict);
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
  }
  part("judged").hidden = false;
  part("judged").textContent = say(isKept ? "result.thanks" : "result.judge.failed");
}

/** Both networks' answers side by side, as the paper's figures 8 and 9 show them. */
function comparison(app, photo, pair) {
  if (!pair) {
    return make("div", { class: "actions" }, make("button", { class: "button", onclick: () => askOther(app, photo) }, say("result.compare")));
  }
  if (pair.state !== "done") {
    const why = pair.state === "refused" ? say("refused.title") : say("result.compare.waiting");
    return make("p", { class: "notice", role: "status" }, why);
  }
  const [base, heatmap] = photo.model === "base" ? [photo, pair] : [pair, photo];
  return make(
    "section",
    { class: "compare" },
    make("h2", {}, say("result.compare")),
    make("p", { class: "quiet" }, say("result.compare.note")),
    make("div", { class: "columns" }, column(base, heatmap), column(heatmap, base)),
  );
}

function column(own, other) {
  const alsoThere = new Set(other.answer.candidates.map((one) => one.person_id));
  const rows = own.answer.candidates.map((one) => {
    const name = one.name ?? say("result.deleted");
    const face = picture(`/v1/searches/${own.searchId}/candidates/${one.person_id}/photo?size=thumb`, "", "face");
    const words = make("span", {}, make("b", {}, name), make("span", { class: "quiet" }, one.similarity.toFixed(2)));
    return make("li", { class: alsoThere.has(one.person_id) ? "shared" : "" }, face, words);
  });
  return make("div", { class: "column" }, make("h3", {}, say(`result.model.${own.model}`)), make("ol", {}, ...rows));
}

async function askOther(app, photo) {
  await app.store.add([
    {
      key: crypto.randomUUID(),
      owner: photo.owner,
      pairOf: photo.key,
      blob: photo.blob,
      model: OTHER[photo.model],
      state: "waiting",
      hints: [],
      addedAt: Date.now(),
    },
  ]);
  await app.show();
  await app.workLater();
}
