// An import on its way up, which may take minutes: with how much of it has arrived.

const { htmlOf, isRefused, newKey } = await import(document.querySelector('script[src*="/console.js"]').src);
const token = document.querySelector('meta[name="csrf-token"]').content;
const form = document.querySelector("form[data-upload]");
let once = newKey();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  upload(new FormData(form));
});

/** fetch cannot say how much of a request has left. */
function upload(body) {
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  const headers = { "X-CSRF-Token": token, "HX-Request": "true", "Idempotency-Key": once };
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", (event) => show(event.loaded / event.total));
  request.addEventListener("load", () => end(request));
  request.addEventListener("error", () => end(request));
  setBusy(true);
  request.send(body);
}

function show(share) {
  form.querySelector("[data-progress] progress").value = share;
  form.querySelector("[data-share]").textContent = `${Math.floor(100 * share)} %`;
}

function end(request) {
  const made = request.status === 201 && request.getResponseHeader("Location");
  const signIn = request.getResponseHeader("HX-Redirect");
  if (made || signIn) return location.assign(made || signIn);
  setBusy(false);
  if (isRefused(request.status, request.getResponseHeader("Retry-After"))) once = newKey();
  document.querySelector("#notices").innerHTML = htmlOf(request.responseText, request.getResponseHeader("Content-Type"));
}

function setBusy(isBusy) {
  form.querySelector("button").disabled = isBusy;
  form.querySelector("[data-progress]").hidden = !isBusy;
}
