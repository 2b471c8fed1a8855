/**
 * What spoils a picture, measured on its grey values: blur and light. Pure arithmetic.
 *
 * A picture is {data: Uint8ClampedArray (RGBA), width, height}.
 */

export const MEASURED_PX = 112; // the face's height when it is measured: blur is a matter of scale
const DARK_LEVEL = 25; // as the server's quality measures have it (OFIQ)
const BRIGHT_LEVEL = 247;

/** Rec. 601, 0..255. */
export function greyOf({ data, width, height }) {
  const grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  }
  return grey;
}

/**
 * Variance of the Laplacian over the variance of the grey values themselves: low where fine detail
 * is missing, whatever the contrast. 0 for a flat picture.
 */
export function sharpnessOf(grey, width, height) {
  const laplacian = new Float32Array((width - 2) * (height - 2));
  let at = 0;
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const i = y * width + x;
      laplacian[at++] = grey[i - width] + grey[i + width] + grey[i - 1] + grey[i + 1] - 4 * grey[i];
    }
  }
  const spread = varianceOf(grey);
  return spread < 1 ? 0 : varianceOf(laplacian) / spread;
}

export function varianceOf(values) {
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / values.length;
  return squares / values.length - mean * mean;
}

/** Shares of dark and bright pixels, and the mean level, 0..255. */
export function lightOf(grey) {
  let dark = 0;
  let bright = 0;
  let sum = 0;
  for (const level of grey) {
    if (level <= DARK_LEVEL) dark++;
    if (level >= BRIGHT_LEVEL) bright++;
    sum += level;
  }
  return { dark: dark / grey.length, bright: bright / grey.length, mean: sum / grey.length };
}
