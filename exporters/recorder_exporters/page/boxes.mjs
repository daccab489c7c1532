// What stands in a box, and so how large it is.

import { captionOf, legible } from "./text.mjs";

const FONT = 'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif';
export const TYPE = {
  title: { size: 12.5, weight: 600, line: 17 },
  plain: { size: 12.5, weight: 400, line: 17 },
  hint: { size: 11, weight: 400, line: 15 },
  name: { size: 11, weight: 400, line: 14 },
};
const PAD = { x: 11, y: 6 };

/** The lines of an item's box: lists of `{text, type}`. */
export function linesOf(item) {
  const { source } = item;
  const times = repeatsOf(item) ? ` × ${repeatsOf(item)}` : "";
  if (item.kind === "value") {
    const modest = item.look === "parameter" || item.look === "buffer" || item.look === "constant";
    return [
      [{ text: (legible(item.title) || "unnamed") + times, type: modest ? "hint" : "title" }],
      [{ text: captionOf(source), type: "name" }],
    ];
  }
  const loud = item.kind === "scope" || source.kind === "module";
  const first = [{ text: (item.kind === "scope" ? "▸ " : "") + (legible(item.title) || "unnamed"),
    type: loud ? "title" : "plain" }];
  if (item.hint) first.push({ text: ` ${item.hint}`, type: "hint" });
  if (times) first.push({ text: times, type: "title" });
  const hidden = item.kind === "scope" ? item.inside : source.meta?.collapsed;
  const count = typeof hidden === "number" ? `${hidden} node${hidden === 1 ? "" : "s"}${times ? " each" : ""}` : "";
  const second = [legible(item.short), count].filter(Boolean).join(" · ");
  const lines = [first];
  if (second) lines.push([{ text: second, type: "name" }]);
  if (source.error) lines.push([{ text: legible(source.error, 56), type: "name" }]);
  return lines;
}

/** How many equal blocks an item stands for; 0 if it stands for itself. A graph may have been folded before. */
export function repeatsOf(item) {
  if (item.times > 1) return item.times;
  const repeats = item.source?.meta?.repeats;
  return typeof repeats === "number" && repeats > 1 ? repeats : 0;
}

/** What an open scope is called. */
export function frameTitle(item) {
  const repeats = repeatsOf(item) ? ` × ${repeatsOf(item)}` : "";
  return { title: `▾ ${legible(item.title) || "unnamed"}${repeats}`, name: legible(item.short) };
}

/** Measure boxes with a function that knows how wide a text in some type is. What an item says changes with `times`. */
export function makeSizeOf(widthOf) {
  const kept = new Map();
  return (item) => {
    const found = kept.get(item);
    if (found && found.times === item.times) return found;
    kept.set(item, { ...sized(linesOf(item), widthOf), times: item.times });
    return kept.get(item);
  };
}

function sized(lines, widthOf) {
  const width = Math.max(...lines.map((line) => line.reduce((sum, { text, type }) => sum + widthOf(text, type), 0)));
  const height = lines.reduce((sum, line) => sum + TYPE[line[0].type].line, 0);
  return { w: Math.max(44, Math.ceil(width) + 2 * PAD.x), h: height + 2 * PAD.y };
}

/** Baselines of the lines, from the top of the box. */
export function baselines(lines) {
  let y = PAD.y;
  return lines.map((line) => {
    const { line: height, size } = TYPE[line[0].type];
    y += height;
    return y - (height - size) / 2 - size * 0.18;
  });
}

/** `widthOf` by the browser's own measure. */
export function browserWidths() {
  const context = document.createElement("canvas").getContext("2d");
  const kept = new Map();
  return (text, type) => {
    const key = `${type} ${text}`;
    if (!kept.has(key)) {
      const font = `${TYPE[type].weight} ${TYPE[type].size}px ${FONT}`;
      if (context.font !== font) context.font = font;
      kept.set(key, context.measureText(text).width);
    }
    return kept.get(key);
  };
}
