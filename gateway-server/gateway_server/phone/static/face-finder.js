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
const COARSE_SIDE = 192; // from there large faces are seen better; a margin shows their outline
const COARSE_MARGIN = 32;
const LARGE_PX = 40; // height in the coarse view below which a closer one sees better
const COARSE_LOGIT = 0; // score 0.5: from afar a smear looks like a face
const LEAST_LOGIT = Math.log(0.43 / 0.57); // the server's own limit
const LAST_RESORT_LOGIT = Math.log(0.38 / 0.62); // where it found nobody else
const SAME_FACE_IOU = 0.4;
const SAME_FACE_NESTING = 0.75; // of the smaller box inside the other, seen in two looks
const LARGEST_LOG_SIZE = 6;
const GREY = 127;

/** @typedef {{x: number, y: number, width: number, height: number, score: number}} Face */

/**
 * Faces in pixels of the photo, the surest first. Looks twice, and closer only if it found nobody.
 * @param {{run: Function}} network
 * @param {CanvasImageSource & {width: number, height: number}} photo
 * @returns {Face[]}
 */
export function findFaces(network, photo) {
  const coarse = viewOf(photo, COARSE_SIDE, COARSE_MARGIN);
  const large = look(network, coarse).filter(
    (face) => face.logit >= COARSE_LOGIT && face.height * coarse.scale >= LARGE_PX,
  );
  let faces = merged(large, look(network, viewOf(photo, SIDE)));
  if (!faces.some(isSure) && 2 * Math.max(photo.width, photo.height) >= FINE_SIDE) {
    faces = merged(faces, look(network, viewOf(photo, FINE_SIDE)));
  }
  const sure = faces.filter(isSure);
  return sure.length ? sure : faces.slice(0, 1);
}

function isSure(face) {
  return face.logit >= LEAST_LOGIT;
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

/**
 * Of two looks, the surest first; of a face in both the surer answer, of equally sure ones the closer.
 * Only who is kept takes another's place.
 */
export function merged(earlier, closer) {
  const kept = [[], []];
  const looks = [closer, earlier].flatMap((faces, look) => faces.map((face) => ({ face, look })));
  for (const { face, look } of looks.sort((one, other) => other.face.logit - one.face.logit)) {
    if (!kept[1 - look].some((other) => isSameFace(face, other))) kept[look].push(face);
  }
  return kept.flat().sort((one, other) => other.logit - one.logit);
}

/** Seen in two looks: boxes that share much, or one inside the other. */
function isSameFace(one, other) {
  const smaller = Math.min(one.width * one.height, other.width * other.height);
  return (
    overlap(one, other) >= SAME_FACE_IOU || shared(one, other) / smaller >= SAME_FACE_NESTING
  );
}

/** Drops every face of one look that shares too much with a surer one. */
function suppress(faces) {
  const kept = [];
  for (const face of faces.sort((one, other) => other.logit - one.logit)) {
    if (kept.every((better) => overlap(face, better) < SAME_FACE_IOU)) kept.push(face);
  }
  return kept;
}

function overlap(one, other) {
  const area = shared(one, other);
  return area / (one.width * one.height + other.width * other.height - area);
}

function shared(one, other) {
  const wide = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
  const high = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
  return Math.max(wide, 0) * Math.max(high, 0);
}
