/**
 * Keeps the page itself on the phone, so that it opens without a network, and sends photos when the
 * browser says that the network is back, with the page closed. No answer of /v1 is ever kept here.
 */

import { look, send, session } from "./gateway.js";
import { Outbox } from "./outbox.js";
import { Store } from "./store.js";

const SHELL = { version: "", files: [] }; // filled in by the gateway
const CACHE = `reunite-app-${SHELL.version}`;
const PAGE = "/app/";

addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL.files.map(fresh))));
  skipWaiting();
});

addEventListener("activate", (event) => {
  event.waitUntil(dropOld().then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  if (event.request.method !== "GET" || address.origin !== location.origin) return;
  const path = event.request.mode === "navigate" ? PAGE : address.pathname;
  if (SHELL.files.includes(path)) event.respondWith(kept(path, event.request));
});

addEventListener("sync", (event) => {
  if (event.tag === "photos") event.waitUntil(sendWaiting(event.lastChance));
});

function fresh(path) {
  return new Request(path, { cache: "reload" });
}

async function kept(path, request) {
  return (await caches.match(path, { cacheName: CACHE })) ?? fetch(request);
}

async function dropOld() {
  const names = (await caches.keys()).filter((name) => name.startsWith("reunite-app-") && name !== CACHE);
  await Promise.all(names.map((name) => caches.delete(name)));
}

/** Fails while photos wait for the network: then the browser tries again by itself. */
async function sendWaiting(isLastChance) {
  const store = await Store.open();
  const outbox = new Outbox(store, { session, send, look });
  await outbox.wakeUp();
  await outbox.run();
  for (const page of await clients.matchAll()) page.postMessage("changed");
  const pause = await store.fact("pause");
  if (pause?.why === "unreachable" && !isLastChance) throw new Error("photos wait for the network");
}
