/**
 * Looks at photos beside the page, which stays smooth: a message {id, blob} -> {id, hints, face},
 * and a smaller `blob` of a photo that is larger than a search needs.
 */

import { findFaces } from "./face-finder.js";
import { judge } from "./hints.js";
import { FaceNetwork } from "./network.js";

const LONGEST_SIDE_PX = 1600;
const JPEG_QUALITY = 0.9;
const UNCHECKED = { hints: ["unchecked"], face: null }; // a HEIC, for example, or memory at its end

const network = fetch(new URL("face-finder.bin", import.meta.url))
  .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(new Error(String(answer.status)))))
  .then((file) => new FaceNetwork(file))
  .catch(() => null); // blur and light are told without it

addEventListener("message", async ({ data: { id, blob } }) => {
  postMessage({ id, ...(await check(blob).catch(() => UNCHECKED)) });
});

async function check(blob) {
  const photo = await createImageBitmap(blob, { imageOrientation: "from-image" });
  const finder = await network;
  const { hints, face } = judge(photo, finder ? findFaces(finder, photo) : null);
  if (!finder) hints.push("face-unchecked");
  const smaller = await shrunk(photo);
  photo.close();
  return { hints, face, ...(smaller && { blob: smaller }) };
}

/** Upright, and without what the camera wrote beside the picture; null: small enough as it is. */
async function shrunk(photo) {
  const scale = LONGEST_SIDE_PX / Math.max(photo.width, photo.height);
  if (scale >= 1) return null;
  const canvas = new OffscreenCanvas(Math.round(photo.width * scale), Math.round(photo.height * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(photo, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}
