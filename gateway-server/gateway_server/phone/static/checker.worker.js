/** Looks at photos beside the page, which stays smooth: a message {id, blob} -> {id, hints, face}. */

import { findFaces } from "./face-finder.js";
import { judge } from "./hints.js";
import { FaceNetwork } from "./network.js";

const network = fetch(new URL("face-finder.bin", import.meta.url))
  .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(new Error(String(answer.status)))))
  .then((file) => new FaceNetwork(file))
  .catch(() => null); // blur and light are told without it

addEventListener("message", async ({ data: { id, blob } }) => {
  postMessage({ id, ...(await check(blob)) });
});

async function check(blob) {
  let photo;
  try {
    photo = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    return { hints: ["unchecked"], face: null }; // a HEIC, for example: few browsers read it
  }
  const finder = await network;
  const { hints, face } = judge(photo, finder ? findFaces(finder, photo) : null);
  if (!finder) hints.push("face-unchecked");
  const size = { width: photo.width, height: photo.height };
  photo.close();
  return { hints, face, size };
}
