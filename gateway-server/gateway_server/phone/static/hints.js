/** What to tell somebody about a photo before it is sent: names of hints, the worst first. */

import { MEASURED_PX, greyOf, lightOf, sharpnessOf } from "./measures.js";

const LEAST_SIDE_PX = 160; // of a photo in which no face was found
const LEAST_FACE_PX = 70; // height of the face in the photo: about 30 px between the eyes
const LEAST_SHARPNESS = 0.006; // demo faces have 0.009 and more; blurred by 2 % of the side, 0.004
const LEAST_MEAN_LEVEL = 32; // low: dark skin in good light is no dark photo
const MOST_MEAN_LEVEL = 225;
const MOST_DARK_SHARE = 0.5;
const MOST_BRIGHT_SHARE = 0.35;

/**
 * @param {CanvasImageSource & {width: number, height: number}} photo
 * @param {import("./face-finder.js").Face[] | null} faces null: nobody could look for faces
 * @returns {{hints: string[], face: object | null}}
 */
export function judge(photo, faces) {
  const face = faces?.length ? faces[0] : null;
  const hints = [];
  if (faces && !face) hints.push("no-face");
  if (faces && faces.length > 1) hints.push("several-faces");
  const isSmall = face ? face.height < LEAST_FACE_PX : Math.min(photo.width, photo.height) < LEAST_SIDE_PX;
  if (isSmall) hints.push("too-small");
  hints.push(...flawsOf(partOf(photo, face ?? wholeOf(photo))));
  return { hints, face };
}

/** Of the face alone where there is one: a dark room behind it is no harm. */
export function flawsOf(picture) {
  const grey = greyOf(picture);
  const light = lightOf(grey);
  const flaws = [];
  if (light.mean < LEAST_MEAN_LEVEL || light.dark > MOST_DARK_SHARE) flaws.push("too-dark");
  if (light.mean > MOST_MEAN_LEVEL || light.bright > MOST_BRIGHT_SHARE) flaws.push("too-bright");
  if (sharpnessOf(grey, picture.width, picture.height) < LEAST_SHARPNESS) flaws.push("blurred");
  return flaws;
}

function wholeOf(photo) {
  return { x: 0, y: 0, width: photo.width, height: photo.height };
}

/** One part of the photo at the size at which it is measured. */
export function partOf(photo, { x, y, width, height }) {
  const scale = Math.min(1, MEASURED_PX / Math.min(width, height));
  const size = [width, height].map((length) => Math.max(3, Math.round(length * scale)));
  const pen = new OffscreenCanvas(...size).getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.drawImage(photo, x, y, width, height, 0, 0, ...size);
  return pen.getImageData(0, 0, ...size);
}
