/**
 * What an answer means for a photo and for the queue. Pure: no network, no clock, no storage.
 *
 *   waiting ──sent──> following ──asked again──> done | refused
 *      └──sent──> done | refused                 ^
 *      └── away, busy, signed out: the photo waits, and so does everything behind it
 *
 * A photo is sent again only under the Idempotency-Key it was given when it was taken, so that the
 * server answers a repeated one as it did the first time.
 */

export const FIRST_PAUSE_MS = 2_000;
export const LONGEST_PAUSE_MS = 300_000;
export const LOOK_AGAIN_MS = 1_000;
const LONGEST_LOOK_MS = 10_000;

/**
 * @typedef {{status: number, retryAfter: string | null, body: any}} Answer status 0: none came
 * @typedef {{photo: object, queue: {kind: "go" | "later" | "sign-in", until?: number, why?: string}}} Verdict
 */

/** @returns {Verdict} of a photo that was sent for the `tried`th time, at `now` in ms */
export function judgeSent(answer, tried, now) {
  const { status, body } = answer;
  if (isStrange(answer)) return judgeSent({ ...answer, status: 0 }, tried, now);
  if (status === 201) return { photo: ended(body, now), queue: { kind: "go" } };
  if (status === 202) {
    const after = now + (pauseOf(answer.retryAfter, now) ?? LOOK_AGAIN_MS);
    return { photo: { state: "following", searchId: body.id, lookAt: after, looks: 0 }, queue: { kind: "go" } };
  }
  if (status === 401 || status === 403) return { photo: {}, queue: { kind: "sign-in" } };
  if (isForLater(answer)) return { photo: {}, queue: later(answer, tried, now) };
  return { photo: refused(body, status, now), queue: { kind: "go" } };
}

/** @returns {Verdict} of a search that was asked for its state */
export function judgeFollowed(answer, looks, now) {
  const { status, body } = answer;
  if (isStrange(answer)) return judgeFollowed({ ...answer, status: 0 }, looks, now);
  if (status === 200 && (body.status === "done" || body.status === "failed")) {
    return { photo: ended(body, now), queue: { kind: "go" } };
  }
  if (status === 200) {
    const pause = Math.min(LOOK_AGAIN_MS * 2 ** Math.min(looks, 10), LONGEST_LOOK_MS);
    const seen = { state: "following", status: body.status, lookAt: now + pause, looks: looks + 1 };
    return { photo: seen, queue: { kind: "go" } };
  }
  if (status === 401 || status === 403) return { photo: {}, queue: { kind: "sign-in" } };
  if (isForLater(answer)) return { photo: {}, queue: later(answer, looks + 1, now) };
  return { photo: refused(body, status, now), queue: { kind: "go" } };
}

/** Success without a search: whoever answered was not the gateway, but a hotspot's page perhaps. */
function isStrange({ status, body }) {
  return status >= 100 && status < 400 && !body?.id;
}

/** Nothing was decided: no answer came, too slow, too much, in use, or a fault of the server's. */
function isForLater({ status, body }) {
  const isInUse = status === 409 && typeof body?.type === "string" && body.type.endsWith(":idempotency-key-in-use");
  return status === 0 || status === 408 || status === 425 || status === 429 || status >= 500 || isInUse;
}

function later({ status, retryAfter }, tried, now) {
  const said = pauseOf(retryAfter, now);
  const pause = said ?? Math.min(FIRST_PAUSE_MS * 2 ** Math.min(tried - 1, 20), LONGEST_PAUSE_MS);
  return { kind: "later", until: now + pause, why: status === 0 ? "unreachable" : "busy" };
}

/** Retry-After in ms: seconds or a date (RFC 9110, 10.2.3); null where it says neither. */
export function pauseOf(retryAfter, now) {
  if (!retryAfter) return null;
  if (/^\d+$/.test(retryAfter)) return 1000 * Number(retryAfter);
  const date = Date.parse(retryAfter);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

function ended(search, now) {
  if (search.status === "failed") {
    return { ...refused(search.problem, search.problem?.status ?? 0, now), searchId: search.id };
  }
  if (search.status !== "done") {
    return { state: "following", searchId: search.id, lookAt: now + LOOK_AGAIN_MS, looks: 0 };
  }
  return { state: "done", searchId: search.id, answer: search, endedAt: now };
}

/** The photo stays until somebody discards it. */
function refused(problem, status, now) {
  const slug = String(problem?.type ?? "").split(":").pop() || `http-${status}`;
  return { state: "refused", reason: { slug, status, detail: problem?.detail ?? "" }, endedAt: now };
}
