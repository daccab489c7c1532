// Pictures of what shows, made here: an SVG that needs nothing of the page, and a PNG of it.

import { byId, svg } from "./dom.mjs";
import { GUTTER, partsOf } from "./sheet.mjs";

const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "paint-order",
  "opacity", "fill-opacity", "stroke-opacity", "font-family", "font-size", "font-weight", "text-anchor"];
const USUAL = { "stroke-dasharray": "none", "stroke-linejoin": "miter", "stroke-linecap": "butt", opacity: "1",
  "paint-order": "normal", "fill-opacity": "1", "stroke-opacity": "1" };
const MARGIN = 16;
const HEADER = 44;
/** What canvases of all browsers and viewers of pictures can hold, in pixels along a side and in all. */
const LARGEST = { side: 16_000, area: 50_000_000 };
/** Pixels for a unit of the drawing below which its text is a smear. */
const LEGIBLE = 0.6;

/** The drawing as an SVG document, in the colours that show: all of it, in columns or rows if it is long, or only the part
 *  in a `view`, a rectangle of the plane. `legend` is a list of `{fill, line, text}`. */
export function svgText(scene, title, legend, view = null) {
  const page = getComputedStyle(document.body);
  const parts = view ? [{ ...view, left: 0, top: 0 }] : partsOf(scene);
  const font = { "font-family": page.fontFamily, fill: page.color };
  const key = keyOf(legend, font);
  const right = Math.max(...parts.map(({ left, w }) => left + w));
  const below = Math.max(...parts.map(({ top, h }) => top + h));
  const [width, height] = [Math.max(right + 2 * MARGIN, key.width), below + HEADER + 2 * MARGIN];
  const whole = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, title),
    svg("rect", { width, height, fill: page.backgroundColor }),
    svg("text", { x: MARGIN, y: 22, "font-size": 15, "font-weight": 600, ...font }, title,
      svg("tspan", { "font-size": 11, "font-weight": 400, dx: 8 }, orderOf(parts))),
    key.elements,
    laid(copyOf(byId("world")), parts, view, page.color));
  return new XMLSerializer().serializeToString(whole);
}

/** How a picture in parts is read. */
function orderOf(parts) {
  if (parts.length < 2) return "";
  return parts[1].top ? `in ${parts.length} rows, from the top` : `in ${parts.length} columns, from the left`;
}

/** The copy as it stands on the sheet: as it is, or a window on it for each part, with lines between. */
function laid(copy, parts, view, colour) {
  const at = ({ left, top }) => ({ x: MARGIN + left, y: HEADER + MARGIN + top });
  if (parts.length < 2 && !view) {
    copy.setAttribute("transform", `translate(${MARGIN} ${HEADER + MARGIN})`);
    return copy;
  }
  copy.removeAttribute("transform");
  copy.setAttribute("id", "drawing");
  const windows = parts.map((part) => svg("svg", { ...at(part), width: part.w, height: part.h,
    viewBox: `${part.x} ${part.y} ${part.w} ${part.h}`, overflow: "hidden" }, svg("use", { href: "#drawing" })));
  const lines = parts.slice(1).map((part) => {
    const { x, y } = at(part);
    const line = part.top ? `M${x} ${y - GUTTER / 2}h${part.w}` : `M${x - GUTTER / 2} ${y}v${part.h}`;
    return svg("path", { d: line, stroke: colour, "stroke-opacity": 0.3, "stroke-dasharray": "2 4", fill: "none" });
  });
  return [svg("defs", {}, copy), windows, lines];
}

function keyOf(legend, font) {
  let x = MARGIN;
  const elements = legend.flatMap(({ fill, line, text }) => {
    const parts = fill ? [svg("rect", { x, y: 32, width: 14, height: 10, rx: 2, fill, stroke: line ?? "none" })] : [];
    if (fill) x += 18;
    if (text) parts.push(svg("text", { x: x + 4, y: 41, "font-size": 11, ...font }, text));
    x += text ? text.length * 6.2 + 16 : -4;
    return parts;
  });
  return { elements, width: x };
}

/** What is drawn, with its looks, its words also where it is shown from too far for them. */
function copyOf(world) {
  const canvas = byId("canvas");
  const distant = canvas.classList.contains("distant");
  canvas.classList.remove("distant");
  const copy = copied(world);
  canvas.classList.toggle("distant", distant);
  return copy;
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

/** A picture as a PNG, twice as fine as its units or as a `scale` of them is on the screen, or as fine as a canvas can be.
 *  Refused is one that nobody could read. */
export async function pngBlob(text, wanted = 1) {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await picture.decode();
  const { width: w, height: h } = picture;
  const scale = Math.min(2 * wanted, LARGEST.side / Math.max(w, h), Math.sqrt(LARGEST.area / (w * h)));
  if (scale < Math.min(LEGIBLE, wanted)) {
    throw new Error(`${Math.round(w).toLocaleString("en")} × ${Math.round(h).toLocaleString("en")} is more than a PNG can `
      + "hold in a size that can be read; close some of what is open, save what is in view, or save as SVG");
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
