// Numbers that the recording and its plugins know of nodes and scopes, and colours for them.

/** Every metric of a document: `{key, label, unit, of}`, where `of` gives a node's or scope's number, or null. Those that
 *  nothing has are left out. */
export function metricsOf(doc) {
  const places = [...doc.nodes, ...doc.scopes];
  const found = [
    { key: "duration_ns", label: "forward time", unit: "time", of: (place) => number(place.duration_ns) },
    { key: "backward_ns", label: "backward time", unit: "time", of: (place) => number(place.backward_ns) },
    { key: "gradient", label: "gradient norm", unit: "", of: gradientNorm },
  ].filter((metric) => places.some((place) => metric.of(place) !== null));
  const seen = new Set();
  for (const { meta } of places) {
    for (const [plugin, facts] of Object.entries(meta ?? {})) {
      if (typeof facts === "number" && plugin !== "collapsed") note(found, seen, [plugin], plugin);
      if (plugin === "backward" || facts === null || typeof facts !== "object" || Array.isArray(facts)) continue;
      for (const [name, value] of Object.entries(facts)) {
        if (number(value) !== null) note(found, seen, [plugin, name], name);
      }
    }
  }
  return found;
}

function note(found, seen, path, name) {
  const key = `meta ${JSON.stringify(path)}`;
  if (seen.has(key)) return;
  seen.add(key);
  const label = name.replace(/_ns$/, "").replaceAll("_", " ");
  if (found.some((metric) => metric.label === label)) return; // told in two places
  const of = ({ meta }) => number(path.reduce((facts, part) => own(facts, part), meta));
  found.push({ key, label, unit: unitOf(name), of });
}

function own(facts, name) {
  return facts !== null && typeof facts === "object" && Object.hasOwn(facts, name) ? facts[name] : undefined;
}

/** A number, also one that JSON has to write as text; null for anything else. */
function number(value) {
  if (typeof value === "number") return value;
  return { nan: NaN, inf: Infinity, "-inf": -Infinity }[typeof value === "string" ? value : ""] ?? null;
}

export function unitOf(name) {
  if (/(^|_)(ns|nanoseconds)$/.test(name)) return "time";
  return /(^|_)bytes($|_)/.test(name) ? "bytes" : "";
}

/** The norm of all gradients together that arrived; null if none was measured. */
function gradientNorm({ meta }) {
  const told = own(own(meta, "backward"), "arrived");
  const parts = Array.isArray(told) ? told.filter((part) => part && "norm" in part) : [];
  if (!parts.length) return null;
  if (parts.some((part) => part.nan || part.inf)) return NaN;
  return Math.hypot(...parts.map((part) => number(part.norm) ?? NaN));
}

// ColorBrewer's YlGnBu (https://colorbrewer2.org), which grows darker all the way: it can be read by colour-blind readers and in
// grey. On a dark page it goes the other way round, so that little always recedes.
const RAMP = ["#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494"];
const DARK_FROM = 6;
const BROKEN = { fill: "#b3261e", text: "#ffffff" };

/** A scale that fits a metric's numbers. `style(number)` gives fill and text colour; `steps` what a legend shows.
 *  It is logarithmic where the numbers differ by more than two powers of ten. */
export function scaleOf(metric, places, dark) {
  const numbers = places.map(metric.of).filter((value) => value !== null);
  const finite = numbers.filter(Number.isFinite);
  const low = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  const least = finite.filter((value) => value > 0).reduce((a, b) => Math.min(a, b), Infinity);
  const logarithmic = low >= 0 && high / least > 100;
  const part = (value) => {
    if (high === low) return 1;
    if (!logarithmic) return (value - low) / (high - low);
    return value <= 0 ? 0 : Math.log(value / least) / Math.log(high / least);
  };
  const style = (value) => {
    if (!Number.isFinite(value)) return BROKEN;
    const step = Math.min(RAMP.length - 1, Math.floor(part(value) * RAMP.length));
    const shade = dark ? RAMP.length - 1 - step : step;
    return { fill: RAMP[shade], text: shade >= DARK_FROM ? "#ffffff" : "#0a1319" };
  };
  const steps = (dark ? [...RAMP].reverse() : RAMP).slice();
  const broken = finite.length < numbers.length ? BROKEN.fill : null;
  return { metric, low: logarithmic && low > 0 ? least : low, high, logarithmic, steps, style, broken };
}
