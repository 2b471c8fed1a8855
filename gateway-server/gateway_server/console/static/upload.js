// An import on its way up, which may take minutes: with how much of it has arrived.

const token = document.querySelector('meta[name="csrf-token"]').content;
const form = document.querySelector("form[data-upload]");
const once = crypto.randomUUID?.() ?? String(Math.random());

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
  document.querySelector("#notices").innerHTML = request.responseText;
}

function setBusy(isBusy) {
  form.querySelector("button").disabled = isBusy;
  form.querySelector("[data-progress]").hidden = !isBusy;
}
