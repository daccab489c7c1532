// Numbers that the recording and its plugins know of nodes and scopes, and colours for them.

import { repeatsOf } from "./boxes.mjs";
import { alikeOf, isSeveral } from "./folding.mjs";
import { figures } from "./text.mjs";

/** Every metric of a document: `{key, label, words, of}`, where `of` gives a node's or scope's number, or null. First those
 *  of `table`, which Python made of `recorder.figures`: `{name, called, words, absent, repeated, values}`, the values in the order of
 *  the document's nodes and scopes, and in `least` the positions of those that are lower bounds; then every number that a
 *  plugin wrote. `least` says of a node or scope whether its number is a lower bound. */
export function metricsOf(doc, table) {
  const places = [...doc.nodes, ...doc.scopes];
  const position = new Map(places.map((place, i) => [place, i]));
  const found = table.map(({ name, called, words, absent, repeated, values, least }) => {
    const bounds = new Set(least ?? []);
    return { key: name, label: called, words, absent, repeated, of: (place) => number(values[position.get(place)]),
      least: (place) => bounds.has(position.get(place)) };
  });
  const seen = new Set();
  for (const { meta } of places) {
    for (const [plugin, facts] of Object.entries(meta ?? {})) {
      if (typeof facts === "number" && plugin !== "collapsed") note(found, seen, [plugin], plugin);
      if (OURS.has(plugin) || facts === null || typeof facts !== "object" || Array.isArray(facts)) continue;
      for (const [name, value] of Object.entries(facts)) {
        if (number(value) !== null) note(found, seen, [plugin, name], name);
      }
    }
  }
  return found;
}

/** What is known of an item with all that it is drawn for, as `Figure.of_all` has it: where that is not the same of each,
 *  the sum or the largest; NaN if one of them is not finite. */
export function ofAll(metric, item) {
  if ((metric.repeated ?? "each") === "each" || !isSeveral(item)) return metric.of(item.source);
  const found = alikeOf(item).map(({ source }) => metric.of(source));
  const known = found.filter((value) => value !== null);
  if (!known.length || (metric.repeated === "sum" && known.length < found.length)) return null;
  if (!known.every(Number.isFinite)) return NaN;
  return known.reduce((a, b) => (metric.repeated === "sum" ? a + b : Math.max(a, b)));
}

/** The same in words, with all digits of a large number if `exact`; "" if nothing is known, or there is none of it. */
export function saidOf(metric, item, exact = false) {
  const value = ofAll(metric, item);
  if (value === null || value === metric.absent) return "";
  const digits = exact && Number.isInteger(value) && metric.words !== "time" && Math.abs(value) >= 1e4
    ? ` (${value.toLocaleString("en")})` : "";
  const said = (metric.least?.(item.source) ? "at least " : "") + figures(value, metric.words) + digits;
  if ((metric.repeated ?? "each") === "each") return repeatsOf(item) ? `${said} each` : said;
  return isSeveral(item) ? `${said} ${metric.repeated === "sum" ? "in all" : "at most"}` : said;
}

/** Whose figure it is that a box has which is drawn once for several, as the legends of drawings say. */
export const REPEATED = { each: " of each", sum: ", sum of all repetitions", largest: ", largest of the repetitions" };

/** What the table says already, and what a call was given. */
const OURS = new Set(["arguments", "backward", "metrics"]);

function note(found, seen, path, name) {
  const key = `meta ${JSON.stringify(path)}`;
  if (seen.has(key)) return;
  seen.add(key);
  const label = name.replace(/_ns$/, "").replaceAll("_", " ");
  if (found.some((metric) => metric.label.toLowerCase() === label.toLowerCase())) return; // told in two places
  const of = ({ meta }) => number(path.reduce((facts, part) => own(facts, part), meta));
  found.push({ key, label, words: wordsOf(name), of });
}

function own(facts, name) {
  return facts !== null && typeof facts === "object" && Object.hasOwn(facts, name) ? facts[name] : undefined;
}

/** A number, also one that JSON has to write as text; null for anything else. */
function number(value) {
  if (typeof value === "number") return value;
  return { nan: NaN, inf: Infinity, "-inf": -Infinity }[typeof value === "string" ? value : ""] ?? null;
}

/** How people read a plugin's number, by its name. */
export function wordsOf(name) {
  if (/(^|_)(ns|nanoseconds)$/.test(name)) return "time";
  return /(^|_)bytes($|_)/.test(name) ? "bytes" : "";
}

/** A scale that fits the numbers of items, by the rule and in the colours of every other drawing: those of
 *  `colours` = `{ramp, zero, broken, unknown}`, each `{fill, text}`. It is logarithmic, from the smallest to the largest
 *  number that is neither zero nor infinite. `style` is of a number, or of null. */
export function scaleOf(metric, items, colours) {
  const numbers = items.map((item) => ofAll(metric, item));
  const known = numbers.filter((value) => value !== null);
  const sizes = known.filter((value) => Number.isFinite(value) && value > 0);
  const low = sizes.reduce((a, b) => Math.min(a, b), Infinity);
  const high = sizes.reduce((a, b) => Math.max(a, b), -Infinity);
  const { ramp } = colours;
  const style = (value) => {
    if (value === null) return colours.unknown;
    if (!Number.isFinite(value)) return colours.broken;
    if (value <= 0) return colours.zero;
    const span = Math.log(high) - Math.log(low);
    const step = span ? Math.floor(((Math.log(value) - Math.log(low)) / span) * ramp.length) : 0;
    return ramp[Math.max(0, Math.min(step, ramp.length - 1))];
  };
  return { metric, low, high, style, ramp,
    zero: known.includes(0) ? colours.zero : null,
    broken: known.some((value) => !Number.isFinite(value)) ? colours.broken : null,
    unknown: known.length < numbers.length ? colours.unknown : null };
}
