/** Scores in words. Pure, but for the language. */

import { say } from "./texts.js";

const RAREST = 1e-6; // below, one in a million says enough
const STRONG = 0.95;
const FAIR = 0.5;

/** How often chance alone would show such a match: "about 4 in 1,000 searches …". */
export function chanceInWords(expected, persons) {
  if (expected >= 0.95) return say("result.chance.many", { x: Math.max(1, Math.round(expected)), m: persons });
  if (expected < RAREST) return say("result.chance.rare");
  const { x, y } = asShare(expected);
  return say("result.chance", { x, y });
}

/** 0.004 -> 4 in 1,000: one digit, and the least power of ten that shows it. */
export function asShare(expected) {
  let y = 10;
  while (expected * y < 0.95) y *= 10;
  return { x: Math.max(1, Math.round(expected * y)), y };
}

export function confidenceInWords(confidence) {
  if (confidence >= STRONG) return say("result.strong");
  return confidence >= FAIR ? say("result.fair") : say("result.weak");
}

/** Never "100 %": nothing here is certain. */
export function percent(share) {
  return `${share > 0.99 ? "> 99" : Math.max(0, Math.round(100 * share))}\u00a0%`;
}
