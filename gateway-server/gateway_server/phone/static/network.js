/**
 * The server's own face detector (face_models/training/detector/network.py), run on the phone in
 * plain JavaScript: a depthwise-separable trunk, a feature pyramid, one head per stride.
 *
 * Maps are {data: Float32Array, channels, rows, columns}, one channel after the other.
 */

const MEAN_LEVEL = 127.5;
const LEVEL_SPAN = 64;
const STAGES = 3; // each ends in a lateral and a head
const HEAD_BLOCKS = 3;

export class FaceNetwork {
  /** @param {ArrayBuffer} file as `tools/face_finder.py` writes it */
  constructor(file) {
    const length = new DataView(file).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 4, length)));
    const weights = fromHalves(new Uint16Array(file, 4 + length));
    this._plan = arranged(layersOf(header.layers, weights));
  }

  /** RGBA pixels, sides multiples of 32 -> one map of 15 answers per cell for each stride. */
  run(rgba, columns, rows) {
    const { stem, stages, laterals, heads } = this._plan;
    let map = through(stem, normalised(rgba, columns, rows));
    const lateral = stages.map((blocks, index) => {
      map = through(blocks, map);
      return convolve(laterals[index], map);
    });
    for (let level = STAGES - 2; level >= 0; level--) {
      lateral[level] = added(lateral[level], doubled(lateral[level + 1]));
    }
    return lateral.map((level, index) => through(heads[index], level));
  }
}

function layersOf(shapes, weights) {
  let at = 0;
  const take = (count) => weights.subarray(at, (at += count));
  return shapes.map(([outputs, inputsEach, side, stride]) => ({
    outputs,
    stride,
    side,
    isWithin: side === 3 && inputsEach === 1,
    kernels: take(outputs * inputsEach * side * side),
    biases: take(outputs),
    isLast: false,
  }));
}

/** The layers in the order of the file -> who follows whom. */
function arranged(layers) {
  const left = [...layers];
  const block = () => ({ within: left.shift(), across: left.shift() });
  const stem = [left.shift(), block(), block()];
  const stages = [];
  const laterals = [];
  for (let stage = 0; stage < STAGES; stage++) {
    const blocks = [block()];
    while (left[1].outputs === blocks[0].across.outputs && left[0].isWithin) blocks.push(block());
    stages.push(blocks);
    laterals.push(left.shift());
  }
  const heads = stages.map(() => {
    const head = Array.from({ length: HEAD_BLOCKS }, block);
    const answer = left.shift();
    answer.isLast = true;
    return [...head, answer];
  });
  return { stem, stages, laterals, heads };
}

function through(parts, map) {
  return parts.reduce((seen, part) => (part.within ? separable(part, seen) : convolve(part, seen)), map);
}

function separable({ within, across }, map) {
  const changed = convolve(across, convolve(within, map));
  const keepsShape = within.stride === 1 && changed.channels === map.channels;
  return keepsShape ? added(map, changed) : changed;
}

function convolve(layer, map) {
  const answer = layer.isWithin
    ? filterWithin(layer, map)
    : layer.side === 1
      ? mixAcross(layer, map)
      : filterAll(layer, map);
  if (!layer.isLast) clip(answer.data);
  return answer;
}

function clip(data) {
  for (let i = 0; i < data.length; i++) if (data[i] < 0) data[i] = 0;
}

function added(one, other) {
  const data = one.data;
  for (let i = 0; i < data.length; i++) data[i] += other.data[i];
  return one;
}

function emptyMap(channels, rows, columns) {
  return { data: new Float32Array(channels * rows * columns), channels, rows, columns };
}

function normalised(rgba, columns, rows) {
  const map = emptyMap(3, rows, columns);
  const size = rows * columns;
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < size; i++) {
      map.data[channel * size + i] = (rgba[4 * i + channel] - MEAN_LEVEL) / LEVEL_SPAN;
    }
  }
  return map;
}

function doubled(map) {
  const twice = emptyMap(map.channels, 2 * map.rows, 2 * map.columns);
  for (let channel = 0; channel < map.channels; channel++) {
    const from = channel * map.rows * map.columns;
    const to = 4 * from;
    for (let row = 0; row < twice.rows; row++) {
      for (let column = 0; column < twice.columns; column++) {
        twice.data[to + row * twice.columns + column] =
          map.data[from + (row >> 1) * map.columns + (column >> 1)];
      }
    }
  }
  return twice;
}

/** 1x1: four outputs at a time, so that each input is read a quarter as often. */
function mixAcross(layer, map) {
  const { kernels, biases, outputs } = layer;
  const inputs = map.channels;
  const size = map.rows * map.columns;
  const answer = emptyMap(outputs, map.rows, map.columns);
  for (let first = 0; first < outputs; first += 4) {
    const count = Math.min(4, outputs - first);
    if (count === 4) mixFour(map.data, kernels, biases, answer.data, first, inputs, size);
    else for (let o = first; o < outputs; o++) mixOne(map.data, kernels, biases, answer.data, o, inputs, size);
  }
  return answer;
}

function mixFour(from, kernels, biases, to, first, inputs, size) {
  const row0 = first * inputs;
  const row1 = row0 + inputs;
  const row2 = row1 + inputs;
  const row3 = row2 + inputs;
  const at = first * size;
  for (let i = 0; i < size; i++) {
    let sum0 = biases[first];
    let sum1 = biases[first + 1];
    let sum2 = biases[first + 2];
    let sum3 = biases[first + 3];
    for (let input = 0, where = i; input < inputs; input++, where += size) {
      const value = from[where];
      sum0 += value * kernels[row0 + input];
      sum1 += value * kernels[row1 + input];
      sum2 += value * kernels[row2 + input];
      sum3 += value * kernels[row3 + input];
    }
    to[at + i] = sum0;
    to[at + size + i] = sum1;
    to[at + 2 * size + i] = sum2;
    to[at + 3 * size + i] = sum3;
  }
}

function mixOne(from, kernels, biases, to, output, inputs, size) {
  for (let i = 0; i < size; i++) {
    let sum = biases[output];
    for (let input = 0; input < inputs; input++) {
      sum += from[input * size + i] * kernels[output * inputs + input];
    }
    to[output * size + i] = sum;
  }
}

/** 3x3 on each channel for itself. */
function filterWithin(layer, map) {
  const answer = emptyMap(map.channels, map.rows / layer.stride, map.columns / layer.stride);
  for (let channel = 0; channel < map.channels; channel++) {
    filterInto(answer, channel, layer.kernels, 9 * channel, map, channel, layer.stride, layer.biases[channel]);
  }
  return answer;
}

/** 3x3 over all channels: the first layer's alone. */
function filterAll(layer, map) {
  const answer = emptyMap(layer.outputs, map.rows / layer.stride, map.columns / layer.stride);
  for (let output = 0; output < layer.outputs; output++) {
    for (let input = 0; input < map.channels; input++) {
      const kernel = 9 * (output * map.channels + input);
      const bias = input === 0 ? layer.biases[output] : 0;
      filterInto(answer, output, layer.kernels, kernel, map, input, layer.stride, bias);
    }
  }
  return answer;
}

/** Adds one channel under one 3x3 kernel, padded by zeros, to one channel of the answer. */
function filterInto(answer, output, kernels, kernel, map, input, stride, bias) {
  const { rows, columns, data } = map;
  const from = input * rows * columns;
  let at = output * answer.rows * answer.columns;
  for (let row = 0; row < answer.rows; row++) {
    const middle = row * stride;
    for (let column = 0; column < answer.columns; column++, at++) {
      const centre = column * stride;
      let sum = bias;
      for (let dy = -1; dy <= 1; dy++) {
        const y = middle + dy;
        if (y < 0 || y >= rows) continue;
        const line = from + y * columns + centre;
        const weights = kernel + 3 * (dy + 1) + 1;
        if (centre > 0) sum += data[line - 1] * kernels[weights - 1];
        sum += data[line] * kernels[weights];
        if (centre + 1 < columns) sum += data[line + 1] * kernels[weights + 1];
      }
      answer.data[at] += sum;
    }
  }
}

/** IEEE 754 half precision -> single. */
function fromHalves(halves) {
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  });
}
