/**
 * Photo -> the faces in it, found on the phone as the server finds them (face_models/detect.py),
 * only less thoroughly: fewer views, and no second network for the landmarks.
 *
 * A view is {rgba, columns, rows, scale, margin}: the photo shrunk or grown on a grey canvas.
 */

const STRIDES = [8, 16, 32];
const CELL = 32; // of the coarsest grid: sides of a view are multiples of it
const SIDE = 320;
const FINE_SIDE = 640;
const SMALL_SIDE = 160; // within a wide margin: a face that fills the frame shows its outline
const LEAST_LOGIT = Math.log(0.43 / 0.57); // the server's own limit
const LAST_RESORT_LOGIT = Math.log(0.38 / 0.62); // where it found nobody else
const SAME_FACE_IOU = 0.4;
const LARGEST_LOG_SIZE = 6;
const GREY = 127;

/** @typedef {{x: number, y: number, width: number, height: number, score: number}} Face */

/**
 * Faces in pixels of the photo, the surest first. Looks once, and closer only until it finds one.
 * @param {{run: Function}} network
 * @param {CanvasImageSource & {width: number, height: number}} photo
 * @returns {Face[]}
 */
export function findFaces(network, photo) {
  let likeliest = [];
  for (const view of views(photo)) {
    const faces = look(network, view);
    const sure = faces.filter((face) => face.logit >= LEAST_LOGIT);
    if (sure.length) return sure;
    likeliest = likeliest.concat(faces);
  }
  return likeliest.sort((one, other) => other.logit - one.logit).slice(0, 1);
}

function* views(photo) {
  yield viewOf(photo, SIDE);
  yield viewOf(photo, SMALL_SIDE, (SIDE - SMALL_SIDE) / 2);
  if (2 * Math.max(photo.width, photo.height) >= FINE_SIDE) yield viewOf(photo, FINE_SIDE);
}

export function viewOf(photo, side, margin = 0) {
  const scale = side / Math.max(photo.width, photo.height);
  const width = Math.max(1, Math.round(photo.width * scale));
  const height = Math.max(1, Math.round(photo.height * scale));
  const columns = wholeCells(width + 2 * margin);
  const rows = wholeCells(height + 2 * margin);
  const pen = new OffscreenCanvas(columns, rows).getContext("2d", { willReadFrequently: true });
  pen.fillStyle = `rgb(${GREY} ${GREY} ${GREY})`;
  pen.fillRect(0, 0, columns, rows);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(photo, margin, margin, width, height);
  return { rgba: pen.getImageData(0, 0, columns, rows).data, columns, rows, scale, margin };
}

function wholeCells(length) {
  return Math.ceil(length / CELL) * CELL;
}

function look(network, view) {
  const levels = network.run(view.rgba, view.columns, view.rows);
  const seen = levels.flatMap((level, index) => decode(level, STRIDES[index]));
  return suppress(seen).map((face) => ({
    x: (face.x - view.margin) / view.scale,
    y: (face.y - view.margin) / view.scale,
    width: face.width / view.scale,
    height: face.height / view.scale,
    logit: face.logit,
    score: 1 / (1 + Math.exp(-face.logit)),
  }));
}

/** 15 answers a cell, all in cells: face logit, centre x y, log size w h, landmarks. */
function decode({ data, rows, columns }, stride) {
  const size = rows * columns;
  const faces = [];
  for (let cell = 0; cell < size; cell++) {
    if (data[cell] < LAST_RESORT_LOGIT) continue;
    const width = stride * Math.exp(Math.min(data[3 * size + cell], LARGEST_LOG_SIZE));
    const height = stride * Math.exp(Math.min(data[4 * size + cell], LARGEST_LOG_SIZE));
    const middleX = stride * ((cell % columns) + 0.5 + data[size + cell]);
    const middleY = stride * (Math.floor(cell / columns) + 0.5 + data[2 * size + cell]);
    faces.push({ x: middleX - width / 2, y: middleY - height / 2, width, height, logit: data[cell] });
  }
  return faces;
}

/** Drops every face that shares too much with a surer one. */
function suppress(faces) {
  const kept = [];
  for (const face of faces.sort((one, other) => other.logit - one.logit)) {
    if (kept.every((better) => overlap(face, better) < SAME_FACE_IOU)) kept.push(face);
  }
  return kept;
}

function overlap(one, other) {
  const wide = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
  const high = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
  const shared = Math.max(wide, 0) * Math.max(high, 0);
  return shared / (one.width * one.height + other.width * other.height - shared);
}
