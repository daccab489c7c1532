// Pictures of what shows, made here: an SVG that needs nothing of the page, and a PNG of it.

import { byId, svg } from "./dom.mjs";

const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "paint-order",
  "opacity", "fill-opacity", "stroke-opacity", "font-family", "font-size", "font-weight", "text-anchor"];
const USUAL = { "stroke-dasharray": "none", "stroke-linejoin": "miter", "stroke-linecap": "butt", opacity: "1",
  "paint-order": "normal", "fill-opacity": "1", "stroke-opacity": "1" };
const MARGIN = 16;
const HEADER = 44;
/** What canvases of all browsers can hold, in pixels along a side and in all. */
const LARGEST = { side: 16_000, area: 120_000_000 };
/** Pixels for a unit of the drawing below which its text is a smear. */
const LEGIBLE = 0.6;

/** The whole drawing as an SVG document, in the colours that show. `legend` is a list of `{fill, line, text}`. */
export function svgText(scene, title, legend) {
  const page = getComputedStyle(document.body);
  const world = byId("world");
  const copy = copied(world);
  copy.setAttribute("transform", `translate(${MARGIN} ${HEADER + MARGIN})`);
  const font = { "font-family": page.fontFamily, fill: page.color };
  let x = MARGIN;
  const key = legend.flatMap(({ fill, line, text }) => {
    const parts = fill ? [svg("rect", { x, y: 32, width: 14, height: 10, rx: 2, fill, stroke: line ?? "none" })] : [];
    if (fill) x += 18;
    if (text) parts.push(svg("text", { x: x + 4, y: 41, "font-size": 11, ...font }, text));
    x += text ? text.length * 6.2 + 16 : -4;
    return parts;
  });
  const [width, height] = [Math.max(scene.w + 2 * MARGIN, x), scene.h + HEADER + 2 * MARGIN];
  const whole = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, title),
    svg("rect", { width, height, fill: page.backgroundColor }),
    svg("text", { x: MARGIN, y: 22, "font-size": 15, "font-weight": 600, ...font }, title),
    key,
    copy);
  return new XMLSerializer().serializeToString(whole);
}

/** A copy with the looks written into it, without what does not show. */
function copied(element) {
  const style = getComputedStyle(element);
  if (style.display === "none" || element.matches(".hit, .bar")) return null;
  const copy = element.cloneNode(false);
  for (const { name } of [...copy.attributes]) {
    if (name === "class" || name === "id" || name === "style" || name.startsWith("data-")) copy.removeAttribute(name);
  }
  const isText = element.localName === "text" || element.localName === "tspan";
  if (element.localName !== "g" || style.opacity !== "1") {
    for (const name of KEPT) {
      if (!isText && (name.startsWith("font") || name.startsWith("text"))) continue;
      const value = style.getPropertyValue(name);
      if (value && value !== USUAL[name] && value !== "") copy.setAttribute(name, value);
    }
  }
  if (style.transform !== "none") copy.setAttribute("transform", style.transform);
  for (const child of element.childNodes) {
    const kept = child.nodeType === Node.ELEMENT_NODE ? copied(child) : child.cloneNode();
    if (kept) copy.append(kept);
  }
  return copy;
}

/** The same as a PNG, twice as fine as on the screen, or as fine as a canvas can be. Refused is one that nobody could
 *  read. */
export async function pngBlob(text, scene) {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await picture.decode();
  const [w, h] = [picture.width || scene.w, picture.height || scene.h];
  const scale = Math.min(2, LARGEST.side / Math.max(w, h), Math.sqrt(LARGEST.area / (w * h)));
  if (scale < LEGIBLE) {
    throw new Error(`${Math.round(w).toLocaleString("en")} × ${Math.round(h).toLocaleString("en")} is more than a PNG can `
      + "hold in a size that can be read; close some of what is open, or save as SVG");
  }
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(w * scale);
  canvas.height = Math.ceil(h * scale);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

/** Hand a file to the reader's browser. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
