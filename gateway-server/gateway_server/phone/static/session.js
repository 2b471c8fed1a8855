/** Signing in with a key, and out with everything that is on the phone. */

import { forgetPicture, part } from "./elements.js";
import * as gateway from "./gateway.js";
import { say } from "./texts.js";

const OWED = "reunite-sign-out-owed"; // signed out without a connection: the server hears of it later
const REFUSALS = { 0: "unreachable", 401: "refused", 403: "refused", 422: "refused" };

export function bringSignIn(app) {
  part("sign-in").addEventListener("submit", async (event) => {
    event.preventDefault();
    await signIn(app, part("key").value.trim());
  });
}

async function signIn(app, key) {
  const problem = part("sign-in-problem");
  problem.hidden = true;
  const session = await gateway.signIn(key);
  if (session.status === 200 && session.body?.csrf_token) {
    part("key").value = "";
    localStorage.removeItem(OWED); // the session before has ended with it
    await app.welcome(session.body);
    await app.show();
    return app.work();
  }
  problem.textContent = say(`sign-in.${REFUSALS[session.status] ?? "busy"}`);
  problem.hidden = false;
  part("key").focus();
}

export async function signOut(app) {
  const photos = await app.store.photos();
  const unsent = photos.filter((one) => ["draft", "waiting"].includes(one.state)).length;
  if (unsent && !confirm(say("sign-out.sure", { n: unsent }))) return;
  photos.forEach(forgetPicture);
  await app.store.forgetEverything();
  part("menu").open = false;
  localStorage.setItem(OWED, "yes");
  await payOwedSignOut();
  location.hash = "#/";
  await app.show();
}

export function owesSignOut() {
  return localStorage.getItem(OWED) !== null;
}

/** Paid when the server says that nobody is signed in, and not before. */
export async function payOwedSignOut() {
  if (!owesSignOut()) return;
  const session = await gateway.session();
  if (session.body?.csrf_token) await gateway.signOut(session.body.csrf_token);
  const after = session.body?.csrf_token ? await gateway.session() : session;
  if (after.status === 401) localStorage.removeItem(OWED);
}
