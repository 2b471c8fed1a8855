/** Elements made by hand: text is text, never markup. */

export const part = (id) => document.getElementById(id);

/** `members`: properties, `class`, `on` handlers, `aria-…` and `data-…` attributes. */
export function make(tag, members = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(members)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name, kind = "") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `icon ${kind}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

const pictures = new Map();

/** An address of a photo on this phone, the same one while it is there. */
export function pictureOf(photo) {
  if (!pictures.has(photo.key)) pictures.set(photo.key, URL.createObjectURL(photo.blob));
  return pictures.get(photo.key);
}

export function forgetPicture(photo) {
  if (pictures.has(photo.key)) URL.revokeObjectURL(pictures.get(photo.key));
  pictures.delete(photo.key);
}
