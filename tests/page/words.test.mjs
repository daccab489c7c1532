import assert from "node:assert/strict";
import test from "node:test";

import { PAGE } from "./graphs.mjs";

const { captionOf, figures, legible, shapeOf, visible } = await import(new URL("text.mjs", PAGE));
const { metricsOf, scaleOf } = await import(new URL("metrics.mjs", PAGE));
const { linesOf, makeSizeOf } = await import(new URL("boxes.mjs", PAGE));

test("every character shows", () => {
  assert.equal(visible("a\nb\x00\x7f\x9b\u202e\ud800\u{e0041}"), "a␊b␀␡\\x9b\\u202e\\ud800\\U000e0041");
  assert.equal(visible("  "), "␠␠");
  assert.equal(visible("é漢字😀"), "é漢字😀");
});

test("long names keep both ends, and whole characters", () => {
  const long = legible(`begin ${"😀".repeat(300)} end`, 20);
  assert.equal([...long].length, 20);
  assert.ok(long.startsWith("begin") && long.endsWith("end") && !/\\ud/.test(long));
  assert.equal(legible("short", 20), "short");
});

test("shapes", () => {
  assert.equal(shapeOf({ shape: [] }), "scalar");
  assert.equal(shapeOf({ shape: [1, -1, 3] }), "1×?×3");
  assert.equal(shapeOf({ shape: Array(40).fill(2) }), "2×2×2×2×2×2×2×2×2×2×…×2");
  assert.equal(captionOf({ shape: [3], dtype: "float32" }), "3");
  assert.equal(captionOf({ shape: [3], dtype: "int64" }), "3 int64");
});

test("figures and their units", () => {
  const told = [[0], [999], [9999], [25_557_032], [4.1e9], [0.1234], [1e-7], [950, "time"], [1.5e6, "time"],
    [2.25e9, "time"], [1536, "bytes"], [3 * 2 ** 30, "bytes"], [NaN], [-Infinity]];
  assert.deepEqual(told.map(([value, unit]) => figures(value, unit)), ["0", "999", "9999", "25.6 M", "4.1 G", "0.123",
    "1.00e-7", "950 ns", "1.5 ms", "2.25 s", "1.5 KiB", "3 GiB", "NaN", "-Infinity"]);
});

const node = (meta, more = {}) => ({ meta, ...more });

test("every number that a plugin wrote is a metric, and nothing else", () => {
  const doc = { scopes: [], nodes: [
    node({ metrics: { flops: 1, activation_bytes: 2, note: "x", flag: true }, plain: 4, list: [1], collapsed: 3 }),
    node({ __proto__x: { a: 1 }, metrics: { flops: "nan" } }, { duration_ns: 5 }),
  ] };
  const found = metricsOf(doc);
  assert.deepEqual(found.map(({ label, unit }) => [label, unit]),
    [["forward time", "time"], ["flops", ""], ["activation bytes", "bytes"], ["plain", ""], ["a", ""]]);
  assert.ok(Number.isNaN(found[1].of(doc.nodes[1])));
  assert.equal(found[2].of(doc.nodes[1]), null);
});

test("gradient norms of all that arrived together", () => {
  const arrived = (...parts) => node({ backward: { arrived: parts } });
  const doc = { scopes: [], nodes: [arrived({ norm: 3 }, null, { norm: 4 }), arrived({ norm: 1, nan: 2 }), arrived({})] };
  const [metric] = metricsOf(doc);
  assert.deepEqual(doc.nodes.map(metric.of), [5, NaN, null]);
});

test("scales grow darker by day and lighter by night", () => {
  const metric = { of: (value) => value, unit: "" };
  const linear = scaleOf(metric, [0, 50, 100], false);
  assert.equal(linear.logarithmic, false);
  assert.equal(linear.style(0).fill, linear.steps[0]);
  assert.equal(linear.style(100).fill, linear.steps.at(-1));
  const night = scaleOf(metric, [0, 50, 100], true);
  assert.deepEqual(night.steps, [...linear.steps].reverse());
  assert.equal(night.style(100).fill, linear.style(0).fill);
  const wide = scaleOf(metric, [0, 1, 10, 1e6, null, NaN], false);
  assert.equal(wide.logarithmic, true);
  assert.equal(wide.style(0).fill, wide.steps[0]);
  assert.ok(wide.broken);
  assert.equal(scaleOf(metric, [7, 7], false).style(7).fill, linear.steps.at(-1));
  assert.equal(scaleOf(metric, [], false).low, Infinity);
});

test("what stands in a box", () => {
  const item = { kind: "node", title: "Linear", hint: "", short: "fc", inside: 1,
    source: { kind: "module", meta: { repeats: 12, collapsed: 40 }, error: "ValueError: no" } };
  const text = linesOf(item).map((line) => line.map((part) => part.text).join(""));
  assert.deepEqual(text, ["Linear × 12", "fc · 40 nodes", "ValueError: no"]);
  const wide = makeSizeOf((words) => words.length * 10)(item);
  assert.equal(wide.w, 140 + 22);
  assert.ok(wide.h > makeSizeOf(() => 1)({ ...item, short: "", source: { kind: "module" } }).h);
});
