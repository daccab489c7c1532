// Search by name, type and shape. All words of a query have to fit; one that looks like a shape is compared as one.

import { shapeOf } from "./text.mjs";

/** What is searched of every item, made once. */
export function buildIndex(model) {
  return model.items.filter((item) => item.source).map((item) => {
    const { source } = item;
    // Of shapes, what made a tensor is found, and not every scope around that hands it on.
    const made = { value: [item.value], node: source.outputs ?? [], scope: [] }[item.kind];
    const shapes = made.map((v) => bounded(model.values[v]));
    const words = [item.name, item.title, source.fqn, source.target, source.error].filter(Boolean);
    return { item, words: words.join("\n").toLowerCase(), shapes };
  });
}

function bounded(value) {
  return `×${shapeOf(value)}×`;
}

/** The items that a query fits, in execution order. An empty query fits none. */
export function find(index, query) {
  const words = wordsOf(query);
  return words.length ? index.filter((entry) => words.every((word) => fits(entry, word))).map((e) => e.item) : [];
}

/** "conv [1, 64, 56, 56]" is the words conv and 1×64×56×56. */
export function wordsOf(query) {
  const spaced = query.replace(/[[(]\s*(-?[\d?*]+(?:\s*[,x×*\s]\s*[\d?*]+)*)\s*,?\s*[\])]/g, (_, sizes) =>
    ` ${sizes.trim().split(/[,x×\s]+/).join("×")} `);
  return spaced.toLowerCase().split(/\s+/).filter(Boolean);
}

function fits(entry, word) {
  if (entry.words.includes(word)) return true;
  const sizes = word.replace(/^[[(]|[\])]$/g, "").split(/[,x×]/).filter(Boolean);
  if (!sizes.length || !sizes.every((size) => /^(\d+|[?*])$/.test(size))) return false;
  return entry.shapes.some((shape) => {
    const have = shape.split("×").slice(1, -1);
    return have.some((_, at) => sizes.every((size, i) => size === "*" ? at + i < have.length : have[at + i] === size));
  });
}
