// The photo to search with; faces drawn over it; heatmaps over faces; the keyboard on the cards.

const HEAT = "reunite-heat";
const find = (what, root = document) => root.querySelector(what);
const all = (what, root = document) => [...root.querySelectorAll(what)];

/* choosing a photo */
const form = find("#ask");
if (form) {
  const drop = find("[data-drop]", form);
  const input = find("#photo", form);
  const preview = find("[data-preview]", form);
  const bar = find("progress", form);
  const take = (files) => {
    const photo = [...files].find((one) => one.type.startsWith("image/") || /\.hei[cf]$/i.test(one.name));
    if (!photo) return;
    const chosen = new DataTransfer();
    chosen.items.add(photo);
    input.files = chosen.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const show = () => {
    const [photo] = input.files;
    drop.classList.toggle("has-photo", Boolean(photo));
    preview.hidden = !photo;
    if (preview.src) URL.revokeObjectURL(preview.src);
    if (photo) preview.src = URL.createObjectURL(photo);
  };
  preview.addEventListener("error", () => { drop.classList.remove("has-photo"); preview.hidden = true; });
  input.addEventListener("change", show);
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  drop.addEventListener("drop", (event) => take(event.dataTransfer.files));
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  form.addEventListener("htmx:xhr:progress", ({ detail }) => { bar.hidden = false; bar.value = (100 * detail.loaded) / (detail.total || 1); });
  form.addEventListener("htmx:afterRequest", () => { bar.hidden = true; });
}

/* faces over the photo, in its own pixels */
function drawFaces() {
  const photo = find("[data-probe]");
  const faces = find("[data-faces]");
  if (!photo || !faces || faces.dataset.drawn) return;
  faces.dataset.drawn = "";
  const fit = () => {
    faces.setAttribute("viewBox", `0 0 ${photo.naturalWidth} ${photo.naturalHeight}`);
    faces.style.fontSize = `${photo.naturalHeight / 16}px`;
    faces.style.width = `${photo.clientWidth}px`;
    faces.style.height = `${photo.clientHeight}px`;
    faces.style.margin = "auto";
  };
  const showFaceAlone = () => {  // a photo that this browser cannot show: HEIC, for example
    faces.remove();
    photo.src = `${photo.src}?size=thumb`;
  };
  if (photo.complete && photo.naturalWidth) fit();
  else if (photo.complete) showFaceAlone();
  photo.addEventListener("load", fit);
  photo.addEventListener("error", showFaceAlone, { once: true });
  new ResizeObserver(fit).observe(photo);
  for (const face of all("[data-face]", faces)) {
    face.addEventListener("click", () => find(`[data-choose="${face.dataset.face}"]`)?.click());
  }
}

/* heatmaps: fetched when somebody wants to see them */
function heat() {
  const button = find("[data-heat]");
  const range = find("[data-opacity]");
  if (!button) return;
  const root = button.closest("[data-heated-root]") ?? document.body;
  const show = (isOn) => {
    button.setAttribute("aria-pressed", isOn);
    root.classList.toggle("heated", isOn);
    if (isOn) for (const map of all("img.heat[data-src]:not([src])", root)) map.src = map.dataset.src;
  };
  const fade = () => root.style.setProperty("--heat", range.value / 100);
  button.onclick = () => {
    const isOn = button.getAttribute("aria-pressed") !== "true";
    localStorage.setItem(HEAT, isOn ? "on" : "off");
    show(isOn);
  };
  range.oninput = () => { fade(); if (button.getAttribute("aria-pressed") !== "true") button.click(); };
  fade();
  show(localStorage.getItem(HEAT) === "on");
}

/* one card at a time is the keyboard's */
let current = 0;
function choose(index, { focus = true } = {}) {
  const cards = all("[data-candidate]");
  if (!cards.length) return;
  current = Math.max(0, Math.min(index, cards.length - 1));
  cards.forEach((card, place) => {
    card.classList.toggle("current", place === current);
    for (const button of all("[data-verdict]", card)) {
      if (place === current) button.dataset.key = button.dataset.verdict;
      else delete button.dataset.key;
    }
  });
  if (focus) {
    cards[current].focus({ preventScroll: true });
    cards[current].scrollIntoView({ block: "nearest" });
  }
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = all("[data-candidate]");
  if (!cards.length) return;
  const moves = { ArrowDown: current + 1, ArrowUp: current - 1 };
  const wanted = moves[event.key] ?? (/^[1-9]$/.test(event.key) ? Number(event.key) - 1 : null);
  if (wanted === null) return;
  event.preventDefault();
  choose(wanted);
});
document.addEventListener("focusin", (event) => {
  const card = event.target.closest("[data-candidate]");
  if (card) choose(all("[data-candidate]").indexOf(card), { focus: false });
});

function begin() {
  drawFaces();
  heat();
  choose(current, { focus: false });
}
begin();
document.addEventListener("htmx:afterSettle", begin);
