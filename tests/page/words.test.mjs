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
    [2.25e9, "time"], [1536, "bytes"], [3e9, "bytes"], [NaN], [-Infinity]];
  assert.deepEqual(told.map(([value, unit]) => figures(value, unit)), ["0", "999", "9999", "25.6 M", "4.10 G", "0.123",
    "1.00e-7", "950 ns", "1.50 ms", "2.25 s", "1.54 kB", "3 GB", "NaN", "-Infinity"]);
});

const node = (meta, more = {}) => ({ meta, ...more });

test("every number that a plugin wrote is a metric, and nothing else", () => {
  const doc = { scopes: [], nodes: [
    node({ cost: { flops: 1, activation_bytes: 2, note: "x", flag: true }, plain: 4, list: [1], collapsed: 3 }),
    node({ __proto__x: { a: 1 }, cost: { flops: "nan" }, metrics: { told: 7 } }),
  ] };
  const table = [{ name: "time", called: "forward time", words: "time", values: [null, 5] }];
  const found = metricsOf(doc, table);
  assert.deepEqual(found.map(({ label, words }) => [label, words]),
    [["forward time", "time"], ["flops", ""], ["activation bytes", "bytes"], ["plain", ""], ["a", ""]]);
  assert.deepEqual(doc.nodes.map(found[0].of), [null, 5]);
  assert.ok(Number.isNaN(found[1].of(doc.nodes[1])));
  assert.equal(found[2].of(doc.nodes[1]), null);
});

test("what the table says, of nodes and then of scopes, and not again", () => {
  const doc = { nodes: [node({ cost: { flops: 1 } }), node({})], scopes: [node({})] };
  const table = [{ name: "gradient", called: "gradient norm", words: "norm", values: [5, "nan", null] },
    { name: "flops", called: "FLOPs", words: "count", values: [1, 2, 3], least: [0, 2] }];
  const found = metricsOf(doc, table);
  assert.deepEqual(found.map(({ key }) => key), ["gradient", "flops"]);
  assert.deepEqual([...doc.nodes, ...doc.scopes].map(found[1].least), [true, false, true]);
  assert.deepEqual([...doc.nodes, ...doc.scopes].map(found[0].least), [false, false, false]);
  assert.deepEqual([...doc.nodes, ...doc.scopes].map(found[0].of), [5, NaN, null]);
});

test("scales are logarithmic, whatever the range", () => {
  const look = (fill) => ({ fill, text: "#000000" });
  const colours = { ramp: ["a", "b", "c", "d"].map(look), zero: look("zero"), broken: look("broken"),
    unknown: look("unknown") };
  const metric = { of: (value) => value };
  const items = (numbers) => numbers.map((source) => ({ source }));
  const fills = (...numbers) => numbers.map((value) => scaleOf(metric, items(numbers), colours).style(value).fill);
  assert.deepEqual(fills(1, 3, 30, 1e4), ["a", "a", "b", "d"]);
  assert.deepEqual(fills(50, 60, 75, 100), ["a", "b", "c", "d"]);
  assert.deepEqual(fills(0, 1, null, NaN, Infinity, -2, 10), ["zero", "a", "unknown", "broken", "broken", "zero", "d"]);
  assert.deepEqual(fills(7, 7), ["a", "a"]);
  const found = scaleOf(metric, items([0, 7, null]), colours);
  assert.deepEqual([found.zero.fill, found.unknown.fill, found.broken, found.low, found.high], ["zero", "unknown", null, 7, 7]);
  assert.equal(scaleOf(metric, [], colours).low, Infinity);
});

test("what stands in a box", () => {
  const item = { kind: "node", title: "Linear", hint: "", short: "fc", inside: 1,
    source: { kind: "module", meta: { repeats: 12, collapsed: 40 }, error: "ValueError: no" } };
  const text = linesOf(item).map((line) => line.map((part) => part.text).join(""));
  assert.deepEqual(text, ["Linear × 12", "fc · 40 nodes each", "ValueError: no"]);
  const wide = makeSizeOf((words) => words.length * 10)(item);
  assert.equal(wide.w, 180 + 22);
  assert.ok(wide.h > makeSizeOf(() => 1)({ ...item, short: "", source: { kind: "module" } }).h);
});
