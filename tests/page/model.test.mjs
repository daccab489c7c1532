import assert from "node:assert/strict";
import test from "node:test";

import { PAGE, graph, labels, random } from "./graphs.mjs";

const { around, buildModel, commonScope, crossing, openedAtFirst } = await import(new URL("model.mjs", PAGE));
const { pathsBetween, pathsOf, reachable } = await import(new URL("paths.mjs", PAGE));
const { hashOf, itemNamed, nameOf } = await import(new URL("address.mjs", PAGE));
const { buildIndex, find, wordsOf } = await import(new URL("search.mjs", PAGE));

const build = (...lines) => {
  const doc = graph(...lines);
  return buildModel(doc, labels(doc));
};
const named = (model, name) => model.items.find((item) => item.name === name && item.source.op_type);
const links = (scope) => [...scope.links.values()].map(({ from, to }) => `${from?.name ?? "in"} ${to?.name ?? "out"}`);

test("a flow shows at each scope whose border it passes", () => {
  const model = build("A/B: a = x", "A/B: b = a", "A: c = b", "C: d = c b");
  assert.deepEqual(links(named(model, "A/B")).sort(), ["a b", "b out", "in a"]);
  assert.deepEqual(links(named(model, "A")).sort(), ["A/B c", "A/B out", "c out", "in A/B"]);
  assert.deepEqual(links(named(model, "C")).sort(), ["d out", "in d", "in d"]);
  assert.deepEqual(links(model.top).sort(), ["A C", "A C", "C d", "x A"]);
});

test("every flow can be followed from border to border, in random graphs", () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const next = random(seed);
    const paths = ["A", "A/B", "A/B/C", "A/D", "E", "E/F"];
    const lines = [...Array(25).keys()].map((i) => {
      const path = paths[Math.floor(i * paths.length / 25)];
      const used = [...Array(1 + next(3))].map(() => (i ? `n${next(i)}` : "x"));
      return `${path}: n${i} = ${used.join(" ")}`;
    });
    const model = build(...lines);
    for (const flow of model.flows) {
      let at = flow.from;
      for (let scope = at.parent; at !== flow.to; ) {
        const found = [...scope.links.values()].filter((link) => link.flows.includes(flow));
        assert.equal(found.length, 1, "one link of a flow at each level");
        const [{ to }] = found;
        if (to === null) [at, scope] = [scope, scope.parent];
        else if (to.kind === "scope") scope = to;
        else at = to;
      }
    }
    const linked = model.items.flatMap((item) => [...(item.links?.values() ?? [])]).flatMap((link) => link.flows);
    assert.deepEqual(new Set(linked), new Set(model.flows));
  }
});

test("children stand as they ran, and what is drawn without a node stands first", () => {
  const model = build("A: a = x", "b = a", "C: c = b y");
  assert.deepEqual(model.top.children.map((item) => item.title), ["x", "y", "Block", "b", "Block", "output"]);
});

test("what enters and leaves", () => {
  const model = build("A: a = x", "A: b = a", "c = b");
  const { into, outOf } = crossing(named(model, "A"));
  assert.deepEqual([into.map((f) => f.from.name), outOf.map((f) => f.to.name)], [["x"], ["c"]]);
});

test("the scope around two places", () => {
  const model = build("A/B: a = x", "A/C: b = a");
  const [a, b] = ["a", "b"].map((name) => named(model, name));
  assert.equal(commonScope(a.parent, b.parent).name, "A");
  assert.deepEqual([...around(a)].map((item) => item.name), ["a", "A/B", "A"]);
});

test("what opens at first stays within the budget, whole levels at a time", () => {
  const lines = ["A", "B", "C"].flatMap((top) => [...Array(10).keys()].map((i) => `N/${top}: ${top}${i} = x`));
  const model = build(...lines);
  const opened = (budget, depth) => [...openedAtFirst(model, budget, depth)].slice(1).map((scope) => scope.name);
  assert.deepEqual(opened(100), ["N", "N/A", "N/B", "N/C"]);
  assert.deepEqual(opened(20), ["N"]);
  assert.deepEqual(opened(1), ["N"]);
  assert.deepEqual(opened(1, 2), ["N", "N/A", "N/B", "N/C"]);
  assert.deepEqual(opened(100, 0), []);
  model.nodes[15].source.error = "no";
  assert.deepEqual(opened(20), ["N", "N/B"]);
});

test("paths to, from, and between", () => {
  const model = build("a = x", "b = a", "c = a", "d = b c", "e = y");
  const names = ({ leaves }) => [...leaves].map((leaf) => leaf.name).sort();
  const [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map((name) => named(model, name));
  assert.deepEqual(names(pathsOf(b, "up")), ["a", "b", "x"]);
  assert.deepEqual(names(pathsOf(b, "down")), ["b", "d"]);
  assert.deepEqual(names(pathsOf(b, "both")), ["a", "b", "d", "x"]);
  assert.deepEqual(names(pathsBetween(a, d)), ["a", "b", "c", "d"]);
  assert.deepEqual(names(pathsBetween(d, a)), ["a", "b", "c", "d"]);
  assert.equal(pathsBetween(b, c).leaves.size, 0);
  assert.equal(pathsBetween(a, e).flows.size, 0);
  assert.equal(pathsBetween(a, d).flows.size, 4);
  assert.equal(reachable([a]).size, 4);
});

test("words of a query", () => {
  assert.deepEqual(wordsOf("Conv2d [1, 64, 56]"), ["conv2d", "1×64×56"]);
  assert.deepEqual(wordsOf("(3,) x"), ["3", "x"]);
  assert.deepEqual(wordsOf("  "), []);
});

test("shapes are compared size by size", () => {
  const doc = graph("a = x");
  doc.values[1].shape = [1, 64, -1, 56];
  const index = buildIndex(buildModel(doc, labels(doc)));
  const found = (query) => find(index, query).some((item) => item.name === "a" && item.kind === "node");
  for (const query of ["64", "1x64", "64,?,56", "[64, *, 56]", "1×64×?×56", "56"]) assert.ok(found(query), query);
  for (const query of ["6", "64x56", "4x?", "1x64x?x56x1"]) assert.ok(!found(query), query);
});

test("what is searched for stands before what holds it: name, beginning, type, the rest", () => {
  const doc = graph("A: xlinear = x", "A: linearly = x", "A: linear = x", "B: fc = x", "B: fc2 = x");
  doc.nodes[3].op_type = "Linear";
  doc.nodes[4].op_type = "LinearReLU";
  const index = buildIndex(buildModel(doc, labels(doc)));
  const found = find(index, "linear").filter((item) => item.kind === "node").map((item) => item.name);
  assert.deepEqual(found, ["linear", "linearly", "fc", "fc2", "xlinear"]);
});

test("a link to a place and back, whatever its name", () => {
  const model = build("A: a = x", "A: b = a");
  for (const name of ["a", "A", "b"]) {
    const item = itemNamed(model, name);
    assert.equal(itemNamed(model, nameOf(hashOf(model, item))), item);
  }
  const [a, b] = ["a", "b"].map((name) => itemNamed(model, name));
  a.name = "ü/#&=% \n";
  assert.equal(itemNamed(model, nameOf(hashOf(model, a))), a);
  b.name = a.name;
  assert.equal(hashOf(model, b), "");
  a.name = "half \ud800";
  assert.equal(hashOf(model, a), "");
  assert.deepEqual(["", "#x", "#node=%E0%A4%A", "#node=no"].map(nameOf), [null, null, null, "no"]);
  assert.equal(itemNamed(model, "no"), null);
});
