/**
 * What the phone remembers, in IndexedDB: photos in the order in which they were added, and a few
 * facts. Shared by the page and the service worker.
 */

const NAME = "reunite";
const VERSION = 1;

export class Store {
  static async open() {
    const opening = indexedDB.open(NAME, VERSION);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("photos", { keyPath: "order", autoIncrement: true });
      opening.result.createObjectStore("facts");
    };
    const database = await outcome(opening);
    database.onversionchange = () => database.close();
    return new Store(database);
  }

  constructor(database) {
    this._database = database;
  }

  /** All in one transaction: several photos picked together are there together, or none is. */
  async add(photos) {
    const transaction = this._database.transaction("photos", "readwrite", { durability: "strict" });
    const orders = photos.map((photo) => outcome(transaction.objectStore("photos").add(photo)));
    await ended(transaction);
    return Promise.all(orders);
  }

  photos() {
    return this._read("photos", (store) => store.getAll());
  }

  photo(order) {
    return this._read("photos", (store) => store.get(order));
  }

  /** Changes what is there now; nothing if it was discarded meanwhile, or `isStill` says no. */
  async change(order, members, isStill = () => true) {
    const transaction = this._database.transaction("photos", "readwrite", { durability: "strict" });
    const store = transaction.objectStore("photos");
    const photo = await outcome(store.get(order));
    if (photo && isStill(photo)) store.put({ ...photo, ...members });
    await ended(transaction);
  }

  async discard(order) {
    await this._write("photos", (store) => store.delete(order));
  }

  fact(name) {
    return this._read("facts", (store) => store.get(name));
  }

  async note(name, value) {
    await this._write("facts", (store) => (value === null ? store.delete(name) : store.put(value, name)));
  }

  async forgetEverything() {
    const transaction = this._database.transaction(["photos", "facts"], "readwrite");
    transaction.objectStore("photos").clear();
    transaction.objectStore("facts").clear();
    await ended(transaction);
  }

  _read(name, ask) {
    return outcome(ask(this._database.transaction(name).objectStore(name)));
  }

  async _write(name, act) {
    const transaction = this._database.transaction(name, "readwrite", { durability: "strict" });
    act(transaction.objectStore(name));
    await ended(transaction);
  }
}

function outcome(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function ended(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    transaction.onerror = () => reject(transaction.error);
  });
}
