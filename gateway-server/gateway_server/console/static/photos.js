// Photos before they are saved: each is shown, looked at by the server, and may be left out again.

const { htmlOf, isRefused, newKey, send } = await import(document.querySelector('script[src*="/console.js"]').src);
const SVG = "http://www.w3.org/2000/svg";
const AT_A_TIME = 2; // looked at by the server

for (const form of document.querySelectorAll("form[data-photos]")) prepare(form);

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

function prepare(form) {
  const desk = { form, photos: [], looking: 0, once: newKey() };
  const drop = form.querySelector("[data-drop]");
  const input = drop.querySelector("input");
  input.addEventListener("change", () => {
    take(desk, input.files);
    input.value = "";
  });
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => over(event, drop, true));
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => over(event, drop, false));
  drop.addEventListener("drop", (event) => take(desk, event.dataTransfer.files));
  document.addEventListener("paste", (event) => take(desk, event.clipboardData.files));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(desk);
  });
}

function over(event, drop, isOver) {
  event.preventDefault();
  drop.classList.toggle("over", isOver);
}

function take(desk, files) {
  const most = Number(desk.form.dataset.most);
  for (const file of files) {
    if (most === 1) [...desk.photos].forEach((photo) => leaveOut(desk, photo));
    if (desk.photos.length < most) add(desk, file);
  }
  look(desk);
}

function add(desk, file) {
  const row = document.querySelector("template[data-row]").content.cloneNode(true).querySelector("li");
  const photo = { file, row, state: "new", address: URL.createObjectURL(file) };
  row.querySelector("[data-preview]").src = photo.address;
  row.querySelector("[data-name]").textContent = file.name;
  row.querySelector("[data-remove]").addEventListener("click", () => leaveOut(desk, photo));
  desk.form.querySelector("[data-chosen]").append(row);
  desk.photos.push(photo);
  tell(desk);
}

function leaveOut(desk, photo) {
  desk.photos = desk.photos.filter((one) => one !== photo);
  URL.revokeObjectURL(photo.address);
  photo.row.remove();
  tell(desk);
}

/** The server looks at two at a time, in their order. */
function look(desk) {
  while (desk.looking < AT_A_TIME) {
    const photo = desk.photos.find((one) => one.state === "new");
    if (!photo) return;
    desk.looking += 1;
    photo.state = "looking";
    lookAt(desk, photo).finally(() => {
      desk.looking -= 1;
      tell(desk);
      look(desk);
    });
  }
}

async function lookAt(desk, photo) {
  const body = new FormData();
  body.append("photo", photo.file);
  const answer = await post(desk.form.dataset.check, body);
  photo.row.querySelector("[data-said]").innerHTML = answer.html; // escaped by the server's templates
  const said = photo.row.querySelector("[data-checked]");
  photo.state = said && !said.dataset.unfit ? "good" : "unfit";
  photo.resembles = Boolean(said?.dataset.resembling);
  if (said) drawBoxes(photo.row, JSON.parse(said.dataset.boxes), said.dataset.face);
}

/** HTML for the page, whatever came of it. */
async function post(address, body, headers = {}) {
  try {
    const answer = await send(address, { method: "POST", body, headers: { "HX-Request": "true", ...headers } });
    const signIn = answer.headers.get("HX-Redirect");
    if (signIn) location.assign(signIn);
    const html = htmlOf(await answer.text(), answer.headers.get("Content-Type"));
    const refused = isRefused(answer.status, answer.headers.get("Retry-After"));
    return { refused, location: answer.ok ? answer.headers.get("Location") : null, html };
  } catch {
    return { refused: false, location: null, html: htmlOf("", null) };
  }
}

function drawBoxes(row, boxes, chosen) {
  const picture = row.querySelector("[data-preview]");
  const drawing = row.querySelector("[data-boxes]");
  const draw = () => {
    drawing.setAttribute("viewBox", `0 0 ${picture.naturalWidth} ${picture.naturalHeight}`);
    boxes.forEach(([x, y, width, height], index) => {
      const box = document.createElementNS(SVG, "rect");
      const places = { x, y, width, height, rx: width / 12, "vector-effect": "non-scaling-stroke" };
      for (const [name, value] of Object.entries(places)) box.setAttribute(name, value);
      if (String(index) !== chosen) box.classList.add("other");
      drawing.append(box);
    });
  };
  picture.complete && picture.naturalWidth ? draw() : picture.addEventListener("load", draw, { once: true });
}

/** What may be done now: nothing is saved before every photo was looked at. */
function tell(desk) {
  const button = desk.form.querySelector("[data-save]");
  const isReady = desk.photos.some((one) => one.state === "good") && desk.photos.every((one) => !["new", "looking"].includes(one.state));
  const resembles = desk.photos.some((one) => one.resembles);
  button.disabled = !isReady || desk.saving;
  button.dataset.plainly ??= button.textContent;
  button.textContent = resembles ? desk.form.dataset.anyway : button.dataset.plainly;
  desk.form.querySelector("[data-warnings]").hidden = !resembles;
  const chosen = desk.form.querySelector("[data-when-chosen]");
  if (chosen) chosen.hidden = desk.photos.length === 0;
}

async function save(desk) {
  const body = new FormData();
  const details = new FormData(desk.form);
  for (const [name, value] of details) if (name !== "csrf_token") body.append(name, value);
  const good = desk.photos.filter((one) => one.state === "good");
  const field = desk.form.dataset.most === "1" ? "photo" : "photos";
  for (const photo of good) body.append(field, photo.file);
  desk.saving = true;
  tell(desk);
  desk.form.querySelector("[data-spinner]").classList.add("on");
  const answer = await post(desk.form.action, body, { "Idempotency-Key": desk.once });
  if (answer.location) return location.assign(answer.location);
  desk.saving = false;
  if (answer.refused) desk.once = newKey();
  desk.form.querySelector("[data-spinner]").classList.remove("on");
  document.querySelector("#notices").innerHTML = answer.html;
  scrollTo({ top: 0 });
  tell(desk);
}
