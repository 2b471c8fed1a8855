/** The gateway as the phone knows it: every call answers {status, retryAfter, body}; 0: no answer. */

const NO_ANSWER = { status: 0, retryAfter: null, body: null };
const UPLOAD_WITHIN_MS = 300_000;
const ANSWER_WITHIN_MS = 30_000;

/** Whose session it is: {role, key_id, key_name, csrf_token, language}. */
export function session() {
  return ask("/console/session");
}

/** The key travels once; the browser keeps a cookie that no script sees. */
export async function signIn(key) {
  const visit = await ask("/console/sign-in");
  if (visit.status !== 200) return visit;
  const body = new URLSearchParams({ key, csrf_token: visit.body?.csrf_token ?? "" });
  return ask("/console/sign-in", { method: "POST", body });
}

export function signOut(token) {
  return ask("/console/sign-out", { method: "POST", headers: { "X-CSRF-Token": token }, redirect: "manual" });
}

export function look(searchId) {
  return ask(`/v1/searches/${searchId}`);
}

export function judge(searchId, personId, verdict, token) {
  return ask(`/v1/searches/${searchId}/feedback`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token },
    body: JSON.stringify({ person_id: personId, verdict }),
  });
}

/** Without progress: what a service worker can do. */
export function send(photo, token) {
  return ask("/v1/searches", {
    method: "POST",
    headers: headersOf(photo, token),
    body: formOf(photo),
    signal: AbortSignal.timeout(UPLOAD_WITHIN_MS),
  });
}

/** With progress, 0 to 1: what a page can do. */
export function sendVisibly(photo, token, onProgress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/searches");
    request.timeout = UPLOAD_WITHIN_MS;
    for (const [name, value] of Object.entries(headersOf(photo, token))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () =>
      resolve({
        status: request.status,
        retryAfter: request.getResponseHeader("Retry-After"),
        body: parsed(request.responseText),
      });
    request.onerror = request.ontimeout = request.onabort = () => resolve(NO_ANSWER);
    request.send(formOf(photo));
  });
}

function headersOf(photo, token) {
  return { "Idempotency-Key": photo.key, "X-CSRF-Token": token };
}

function formOf(photo) {
  const form = new FormData();
  form.append("photo", photo.blob, "photo");
  form.append("model", photo.model);
  return form;
}

async function ask(address, options = {}) {
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const headers = { Accept: "application/json", ...options.headers };
    const answer = await fetch(address, { signal, cache: "no-store", ...options, headers });
    const body = parsed(await answer.text());
    return { status: answer.status, retryAfter: answer.headers.get("Retry-After"), body };
  } catch {
    return NO_ANSWER;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
