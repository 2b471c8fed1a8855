// How many strangers are as similar by chance: more, the more faces there are to compare with.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 720;
const HIGH = 300;
const LEFT = 64;
const RIGHT = 16;
const TOP = 14;
const BOTTOM = 42;
const DECADES_X = [1, 7];
const DECADES_Y = [-6, 4];

const card = document.querySelector("[data-curves]");
if (card) begin(JSON.parse(card.dataset.curves));

function begin(curves) {
  const inputs = card.querySelectorAll("input");
  for (const input of inputs) input.addEventListener("input", () => show(curves));
  show(curves);
}

function show(curves) {
  const model = card.querySelector('[name="model"]:checked')?.value ?? Object.keys(curves)[0];
  const similarity = Number(card.querySelector('[name="similarity"]').value);
  const faces = 10 ** Number(card.querySelector('[name="faces"]').value);
  const lead = Number(card.dataset.lead);
  const fmr = rateAt(curves[model], similarity);
  const expected = fmr * faces;
  card.querySelector("[data-similarity]").textContent = similarity.toFixed(2);
  card.querySelector("[data-faces]").textContent = Math.round(faces).toLocaleString();
  card.querySelector("[data-expected]").textContent = written(expected);
  const verdict = card.querySelector("[data-verdict]");
  verdict.textContent = expected <= lead ? verdict.dataset.isLead : verdict.dataset.noLead;
  verdict.classList.toggle("good", expected <= lead);
  draw(card.querySelector("[data-plot]"), fmr, faces, lead);
}

/** Between two points of the curve, by the rates' logarithms. */
function rateAt({ similarity, fmr }, at) {
  const after = similarity.findIndex((one) => one >= at);
  if (after <= 0) return fmr[after === 0 ? 0 : fmr.length - 1];
  const share = (at - similarity[after - 1]) / (similarity[after] - similarity[after - 1]);
  return Math.exp((1 - share) * Math.log(fmr[after - 1]) + share * Math.log(fmr[after]));
}

function written(number) {
  return number >= 10 ? Math.round(number).toLocaleString() : number >= 0.001 ? number.toPrecision(2) : number.toExponential(0);
}

function across(log10) {
  return LEFT + ((log10 - DECADES_X[0]) / (DECADES_X[1] - DECADES_X[0])) * (WIDE - LEFT - RIGHT);
}

function down(log10) {
  const held = Math.min(Math.max(log10, DECADES_Y[0]), DECADES_Y[1]);
  return TOP + ((DECADES_Y[1] - held) / (DECADES_Y[1] - DECADES_Y[0])) * (HIGH - TOP - BOTTOM);
}

function draw(plot, fmr, faces, lead) {
  plot.replaceChildren();
  for (let decade = DECADES_X[0]; decade <= DECADES_X[1]; decade++) {
    line(plot, "grid", across(decade), TOP, across(decade), HIGH - BOTTOM);
    text(plot, across(decade), HIGH - BOTTOM + 16, (10 ** decade).toLocaleString(), decade === DECADES_X[1] ? "end" : "middle");
  }
  for (let decade = DECADES_Y[0]; decade <= DECADES_Y[1]; decade += 2) {
    line(plot, "grid", LEFT, down(decade), WIDE - RIGHT, down(decade));
    text(plot, LEFT - 8, down(decade) + 4, decade >= 0 ? (10 ** decade).toLocaleString() : `10${raised(decade)}`, "end");
  }
  text(plot, (LEFT + WIDE - RIGHT) / 2, HIGH - 6, card.dataset.xText, "middle");
  line(plot, "rule", LEFT, down(Math.log10(lead)), WIDE - RIGHT, down(Math.log10(lead)));
  text(plot, LEFT + 8, down(Math.log10(lead)) - 6, card.dataset.leadText, "start");
  const log = Math.log10(fmr);
  line(plot, "line", across(DECADES_X[0]), down(log + DECADES_X[0]), across(DECADES_X[1]), down(log + DECADES_X[1]), log);
  put(plot, "circle", { class: "here", cx: across(Math.log10(faces)), cy: down(log + Math.log10(faces)), r: 6 });
}

/** A straight line, or the curve's: it leaves the picture where the picture ends. */
function line(plot, kind, x1, y1, x2, y2, log) {
  if (log === undefined) return put(plot, "line", { class: kind, x1, y1, x2, y2 });
  const points = [];
  for (let x = DECADES_X[0]; x <= DECADES_X[1] + 1e-9; x += 0.05) points.push(`${across(x).toFixed(1)},${down(log + x).toFixed(1)}`);
  return put(plot, "polyline", { class: kind, points: points.join(" ") });
}

function text(plot, x, y, content, anchor) {
  put(plot, "text", { x, y, "text-anchor": anchor }).textContent = content;
}

function raised(number) {
  return String(number).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
}

function put(plot, kind, values) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(values)) made.setAttribute(name, value);
  plot.append(made);
  return made;
}
