/** Asks the worker about photos, one after the other. */

const UNCHECKED = { hints: ["unchecked"], face: null };

export class Checker {
  constructor(worker = new Worker(new URL("checker.worker.js", import.meta.url), { type: "module" })) {
    this._asked = new Map();
    this._isBroken = false;
    this._worker = worker;
    worker.addEventListener("message", ({ data: { id, ...told } }) => this._tell(id, told));
    worker.addEventListener("error", () => this._giveUp());
  }

  /** @returns {Promise<{hints: string[], face: object | null, blob?: Blob}>} */
  async check(blob) {
    if (this._isBroken) return UNCHECKED;
    const id = crypto.randomUUID();
    return new Promise((resolve) => {
      this._asked.set(id, resolve);
      this._worker.postMessage({ id, blob });
    });
  }

  _tell(id, told) {
    this._asked.get(id)?.(told);
    this._asked.delete(id);
  }

  /** A phone whose browser knows no such workers sends photos all the same, and says so. */
  _giveUp() {
    this._isBroken = true;
    for (const id of [...this._asked.keys()]) this._tell(id, UNCHECKED);
  }
}
