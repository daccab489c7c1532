// Words as a reader sees them: names that may hold anything, shapes, and numbers with their units.

// The same characters that the other drawings replace: what has no look of its own, or changes the look of others.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu;

/** Text in which every character shows: a newline as ␊, U+202E as \u202e. */
export function visible(text) {
  if (text && !text.trim()) text = text.replace(/ /g, "␠");
  return text.replace(UNSEEN, (mark) => {
    const code = mark.codePointAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "␡";
    return code < 0x100 ? `\\x${hex(code, 2)}` : code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
  });
}

function hex(code, width) {
  return code.toString(16).padStart(width, "0");
}

/** At most `limit` characters. The end is kept as well as the beginning: qualified names differ there. */
export function shortened(text, limit) {
  const letters = text.length > limit ? [...text.slice(0, limit), ...text.slice(-limit)] : null;
  if (!letters || [...text.slice(0, 2 * limit)].length <= limit) return text;
  const tail = Math.floor(limit / 3);
  return `${letters.slice(0, limit - tail - 1).join("")}…${letters.slice(-tail).join("")}`;
}

/** A name for a drawing: visible, and not too long. Of a very long one only the ends are looked at. */
export function legible(text, limit = 48) {
  return shortened(visible(shortened(text, 4 * limit)), limit);
}

const SIZES = 12;

/** A value's shape as people write it: 1×64×56×56, "scalar" for none, "?" for a size that is not single. */
export function shapeOf(value) {
  const sizes = value.shape.map((size) => (size < 0 ? "?" : String(size)));
  if (sizes.length > SIZES) sizes.splice(SIZES - 2, sizes.length - SIZES + 1, "…");
  return sizes.join("×") || "scalar";
}

/** Shape, and dtype where it is not the usual one. */
export function captionOf(value) {
  return value.dtype === "float32" ? shapeOf(value) : `${shapeOf(value)} ${legible(value.dtype, 24)}`;
}

/** What was measured of a value, as `recorder.figures.stats_in_words` has it: nothing if it was not. */
export function measuredOf(value) {
  const stats = value.meta?.stats;
  if (!stats) return "";
  const told = ["norm", "largest", "mean"].map((name) => `${name} ${figures(stats[name], "norm")}`);
  if (stats.zeros) told.push(`${figures(stats.zeros, "share")} zeros`);
  for (const [name, word] of [["nan", "NaN"], ["inf", "Inf"]]) {
    if (stats[name]) told.push(`${stats[name].toLocaleString("en")} ${word}`);
  }
  return told.join(", ");
}

// As `recorder.figures` says them; a test holds both to each other.
const UNITS = {
  count: ["", "k", "M", "G", "T", "P", "E"],
  bytes: ["B", "kB", "MB", "GB", "TB", "PB", "EB"],
  time: ["ns", "µs", "ms", "s"],
};
const LARGEST = 2 ** 63;

/** A number as people read it: a "count", "bytes", a "time" in nanoseconds, a "share" of one, a "norm", or any. */
export function figures(value, words = "") {
  if (typeof value === "string") return value;
  if (words === "norm") return Number.isFinite(value) ? ofThreeDigits(value) : "NaN or Inf";
  if (words === "time" && !(Math.abs(value) < LARGEST)) return "?";
  if (!Number.isFinite(value)) return String(value);
  if (words === "share") return `${fixed(100 * value, 1)} %`;
  if (words === "time" && value < 0) return `${fixed(value / 1e6, 2)} ms`;
  if (Object.hasOwn(UNITS, words)) return inUnits(value, UNITS[words]);
  if (Math.abs(value) >= 1e4) return inUnits(value, UNITS.count);
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : short(value);
}

function inUnits(value, units) {
  let number = 0;
  while (number < units.length - 1 && value >= 999.5) {
    value /= 1000;
    number += 1;
  }
  const digits = value >= 99.95 || Number.isInteger(value) ? 0 : value >= 9.995 ? 1 : 2;
  const [whole, part] = fixed(value, digits).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${grouped}${part ? `.${part}` : ""} ${units[number]}`.trimEnd();
}

/** With so many digits after the point. Of two that are as near, Python takes the even one, and toFixed the larger. */
function fixed(value, digits) {
  const all = Math.abs(value).toFixed(30);
  const end = all.indexOf(".") + digits + 1;
  if (!/^50*$/.test(all.slice(end)) || !/[02468]\.?$/.test(all.slice(0, end))) return value.toFixed(digits);
  return `${value < 0 ? "-" : ""}${all.slice(0, digits ? end : end - 1)}`;
}

function ofThreeDigits(value) {
  if (value === 0) return "0";
  const all = value.toExponential(60);
  const even = /^-?\d\.\d[02468]50*e/.test(all); // as in `fixed`
  const [digits, exponent] = (even ? all.replace(/50*e/, "e") : value.toExponential(2)).split("e");
  if (exponent >= -4 && exponent < 3) return String(Number(`${digits}e${exponent}`));
  return `${Number(digits)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

function short(value) {
  if (Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(3)));
}

/** JSON on a few lines, for attributes and what plugins wrote. */
export function jsonText(value) {
  if (typeof value === "string") return value;
  const line = JSON.stringify(value);
  return line.length <= 60 ? line : JSON.stringify(value, null, 1);
}
