/** The phone page put together: what is on the screen, and when the outbox is run. */

import { Checker } from "./checker.js";
import { part } from "./elements.js";
import * as gateway from "./gateway.js";
import { checkLeftBehind, showHome } from "./home.js";
import { Outbox } from "./outbox.js";
import { renewAnswer, showPhoto } from "./result.js";
import { bringSignIn, owesSignOut, payOwedSignOut, signOut } from "./session.js";
import { Store } from "./store.js";
import { choose, language, say, speak } from "./texts.js";
import { bringTheme } from "./theme.js";

const PHOTO = /^#\/photo\/(\d+)$/;
const SOON_MS = 500;

class App {
  constructor(store) {
    this.store = store;
    this.checker = new Checker();
    this.progress = new Map(); // share sent, by order
    const calls = { session: gateway.session, send: gateway.sendVisibly, look: gateway.look };
    this.outbox = new Outbox(store, calls, (change) => this._hear(change));
    this._turn = 0;
  }

  async start() {
    bringTheme();
    part("language").value = language();
    part("language").addEventListener("change", () => this._speak(part("language").value));
    part("sign-out").addEventListener("click", () => signOut(this));
    bringSignIn(this);
    addEventListener("hashchange", () => this._turnTo());
    addEventListener("online", () => this._comeBack());
    addEventListener("offline", () => this.show());
    document.addEventListener("visibilitychange", () => document.hidden || this._comeBack());
    await speak();
    if (!isSecureContext) return this._refuse(); // no worker, no locks, no ids: browsers give them to HTTPS alone
    await payOwedSignOut();
    await this._keepShell();
    await this._meet();
    await this.show();
    document.documentElement.dataset.ready = "yes";
    await Promise.all([checkLeftBehind(this), this._turnTo(), this._comeBack()]);
  }

  _refuse() {
    part("offline").hidden = false;
    part("offline").textContent = say("insecure");
    document.documentElement.dataset.ready = "yes";
  }

  /** Who is here, as far as that can be known now. */
  async _meet() {
    if (owesSignOut()) return; // whoever has signed out is not met again
    const session = await gateway.session();
    if (session.status === 200 && session.body?.csrf_token) await this.welcome(session.body);
    else if (session.status === 401) await this.store.note("pause", { kind: "sign-in" });
  }

  async welcome(session) {
    await this._forgetAnswersOfOthers(session.key_id);
    await this.store.note("who", { id: session.key_id, name: session.key_name, role: session.role });
    const pause = await this.store.fact("pause");
    if (pause?.kind === "sign-in") await this.store.note("pause", null);
  }

  /** Somebody else signs in: what was answered to the one before need not stay for them. */
  async _forgetAnswersOfOthers(id) {
    for (const photo of await this.store.photos()) {
      if (photo.state === "done" && photo.owner !== id) await this.store.discard(photo.order);
    }
  }

  /** What was added under the key that has signed in; nobody else's is shown. */
  async photos() {
    const who = await this.store.fact("who");
    return (await this.store.photos()).filter((one) => one.owner === who?.id);
  }

  /** Whether somebody is signed in; offline, whether somebody was. */
  async isSignedIn() {
    const [who, pause] = [await this.store.fact("who"), await this.store.fact("pause")];
    return Boolean(who) && pause?.kind !== "sign-in";
  }

  async show() {
    const isSignedIn = await this.isSignedIn();
    const photo = isSignedIn && location.hash.match(PHOTO);
    part("view-sign-in").hidden = isSignedIn;
    part("view-home").hidden = !isSignedIn || Boolean(photo);
    part("view-photo").hidden = !photo;
    part("offline").hidden = navigator.onLine;
    part("offline").textContent = navigator.onLine ? "" : say("offline");
    await this._showWho();
    await (photo ? showPhoto(this, Number(photo[1])) : showHome(this, isSignedIn));
  }

  /** Another address of the page: what is kept of an answer is shown at once, and asked for anew. */
  async _turnTo() {
    await this.show();
    const photo = location.hash.match(PHOTO);
    if (photo) await renewAnswer(this, Number(photo[1]));
  }

  async keepVerdict(order, person, verdict) {
    const { verdicts } = await this.store.photo(order);
    await this.store.change(order, { verdicts: { ...verdicts, [person]: verdict } });
  }

  async _showWho() {
    const who = await this.store.fact("who");
    part("whose").textContent = who ? say("signed-in", { name: who.name }) : "";
    part("sign-out").hidden = part("sign-out-note").hidden = !who;
  }

  async _speak(tag) {
    choose(tag);
    await speak();
    await this.show();
  }

  _hear({ kind, order, share }) {
    if (kind === "sending") this.progress.set(order, share);
    else this.progress.delete(order);
    this.show();
  }

  async _comeBack() {
    if (document.hidden) return;
    await payOwedSignOut();
    await this.outbox.wakeUp();
    await this.work();
  }

  /** Sends and looks after what can be, and comes back when there is more to do. */
  async work() {
    clearTimeout(this._turn);
    await this.outbox.run();
    await this.show();
    const next = await this.outbox.nextTurn();
    clearTimeout(this._turn);
    if (next !== null) this._turn = setTimeout(() => this.work(), Math.max(next - Date.now(), SOON_MS));
  }

  /** Photos were added: sent now, or by the browser when the network is back. */
  async workLater() {
    const shell = await navigator.serviceWorker?.getRegistration("/app");
    await shell?.sync?.register("photos").catch(() => {}); // where the browser knows it and allows it
    await this.work();
  }

  async _keepShell() {
    if (!("serviceWorker" in navigator)) return;
    navigator.serviceWorker.addEventListener("message", () => this.show());
    const options = { type: "module", scope: "/app", updateViaCache: "none" };
    await navigator.serviceWorker.register("/app/sw.js", options).catch(() => {}); // then only online
  }
}

new App(await Store.open()).start();
