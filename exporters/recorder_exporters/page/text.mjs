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

const STEPS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

/** A number with three significant figures, in the unit of its metric: "time" (ns), "bytes", or plain. */
export function figures(value, unit = "") {
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (unit === "time") {
    for (const [step, name] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
      if (size >= step) return `${short(value / step)} ${name}`;
    }
    return `${short(value)} ns`;
  }
  if (unit === "bytes") {
    for (const [step, name] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
      if (size >= step) return `${short(value / step)} ${name}`;
    }
    return `${short(value)} B`;
  }
  for (const [step, name] of STEPS) {
    if (size >= step && size >= 1e4) return `${short(value / step)} ${name}`;
  }
  return size !== 0 && size < 1e-3 ? value.toExponential(2) : short(value);
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
