// Search by name, type and shape. All words of a query have to fit; one that looks like a shape is compared as one.

import { shapeOf } from "./text.mjs";

/** What is searched of every item, made once. */
export function buildIndex(model) {
  return model.places.filter((item) => item.source).map((item) => {
    const { source } = item;
    // Of shapes, what made a tensor is found, and not every scope around that hands it on.
    const made = { value: [item.value], node: source.outputs ?? [], scope: [] }[item.kind];
    const shapes = made.map((v) => bounded(model.values[v]));
    const words = [item.name, item.title, source.fqn, source.target, source.error].filter(Boolean);
    const lower = (texts) => texts.filter((text) => typeof text === "string" && text).map((text) => text.toLowerCase());
    return { item, words: words.join("\n").toLowerCase(), shapes, names: lower([item.name, item.short, source.fqn]),
      types: lower([item.title, source.op_type, source.target]) };
  });
}

function bounded(value) {
  return `×${shapeOf(value)}×`;
}

/** The items that a query fits, the nearest first, and those that are equally near in execution order. An empty query
 *  fits none. */
export function find(index, query) {
  const words = wordsOf(query);
  if (!words.length) return [];
  const found = index.filter((entry) => words.every((word) => fits(entry, word)));
  const ranked = found.map((entry) => ({ entry, rank: Math.min(...words.map((word) => rankOf(entry, word))) }));
  return ranked.sort((one, other) => one.rank - other.rank).map(({ entry }) => entry.item);
}

/** How near a word is: the whole name, the last part of it, how a name begins, the type, how a type begins, the rest. */
function rankOf({ names, types }, word) {
  const ways = [
    () => names[0] === word,
    () => names.includes(word),
    () => names.some((name) => name.startsWith(word)),
    () => types.includes(word),
    () => types.some((type) => type.startsWith(word)),
  ];
  const found = ways.findIndex((way) => way());
  return found < 0 ? ways.length : found;
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
