/**
 * Sends what waits: in order, one at a time, by whoever holds the lock - one page of several, or
 * the service worker. Whatever it knows is in the store, so that it goes on after any end.
 */

import { judgeFollowed, judgeSent } from "./sender.js";

const LOCK = "reunite-outbox";
const SAYS_WHY = new Set([401, 403, 429, 503]); // of a session; other answers are not the gateway's
export const KEPT_MS = 7 * 86_400_000; // a finished search's photo and answer, on the device

export class Outbox {
  /**
   * @param {import("./store.js").Store} store
   * @param {{session: Function, send: Function, look: Function}} gateway
   * @param {(change: {kind: string, order?: number, share?: number}) => void} tell
   */
  constructor(store, gateway, tell = () => {}, now = Date.now) {
    this._store = store;
    this._gateway = gateway;
    this._tell = tell;
    this._now = now;
  }

  /** Until nothing can be done now. */
  run() {
    return navigator.locks.request(LOCK, async () => {
      await this._forgetOld();
      if (!(await this._mayWork())) return;
      while (await this._sendNext());
      if (!(await this._mayWork())) return; // what holds up the sending holds up the looks
      while (await this._lookAfterNext());
    });
  }

  /** When there is something to do again, in ms; null: not before somebody acts. */
  async nextTurn() {
    const pause = await this._store.fact("pause");
    if (pause?.kind === "sign-in") return null;
    const photos = await this._ours();
    const looks = photos.filter((one) => one.state === "following").map((one) => one.lookAt);
    const sends = photos.some((one) => one.state === "waiting") ? [this._now()] : [];
    const earliest = Math.min(...looks, ...sends);
    return Number.isFinite(earliest) ? Math.max(earliest, pause?.until ?? 0) : null;
  }

  /** The network is back: no reason to wait longer for it. A busy server's word stands. */
  async wakeUp() {
    const pause = await this._store.fact("pause");
    if (pause?.why === "unreachable") await this._store.note("pause", null);
  }

  async _mayWork() {
    const pause = await this._store.fact("pause");
    if (pause?.kind === "sign-in") return false;
    return !(pause?.until > this._now());
  }

  async _sendNext() {
    const photo = (await this._ours()).find((one) => one.state === "waiting");
    if (!photo) return false;
    this._tell({ kind: "sending", order: photo.order, share: 0 });
    const tried = (photo.tried ?? 0) + 1;
    await this._store.change(photo.order, { tried });
    const answer = await this._signedIn(photo, (token) =>
      this._gateway.send(photo, token, (share) => this._tell({ kind: "sending", order: photo.order, share })),
    );
    const verdict = judgeSent(answer, tried, this._now());
    if (verdict.queue.kind === "go") await this._store.note("pause", null);
    return this._apply(photo.order, verdict);
  }

  async _lookAfterNext() {
    const due = (one) => one.state === "following" && one.lookAt <= this._now();
    const photo = (await this._ours()).find(due);
    if (!photo) return false;
    const answer = await this._signedIn(photo, () => this._gateway.look(photo.searchId));
    return this._apply(photo.order, judgeFollowed(answer, photo.looks, this._now()));
  }

  /** Nobody sends for somebody else: what another key's holder has added waits for them. */
  async _ours() {
    const who = await this._store.fact("who");
    return (await this._store.photos()).filter((one) => one.owner === who?.id);
  }

  /** Every turn asks whose session it is: its token, and whether it has ended. */
  async _signedIn({ owner }, act) {
    const session = await this._gateway.session();
    if (session.status === 200 && session.body?.csrf_token) {
      return session.body.key_id === owner ? act(session.body.csrf_token) : { ...session, status: 401 };
    }
    return SAYS_WHY.has(session.status) ? session : { ...session, status: 0 }; // a hotspot's page, for example
  }

  async _apply(order, { photo, queue }) {
    await this._store.change(order, photo);
    if (queue.kind !== "go") await this._store.note("pause", queue);
    this._tell({ kind: "changed", order });
    return queue.kind === "go";
  }

  async _forgetOld() {
    const isOld = (one) => one.state === "done" && one.endedAt < this._now() - KEPT_MS;
    for (const one of (await this._store.photos()).filter(isOld)) await this._store.discard(one.order);
  }
}
