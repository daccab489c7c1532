import assert from "node:assert/strict";
import test from "node:test";

import { PAGE, dagre, random } from "./graphs.mjs";

const { GAP, layoutScope, ranksOf } = await import(new URL("layout.mjs", PAGE));
const engine = dagre();

const children = (count) => [...Array(count).keys()].map((id) => ({ id, w: 60 + (id % 5) * 20, h: 40, room: 150 }));
const edge = (from, to) => ({ key: `${from} ${to}`, from, to });

function check(boxes, edges, layout) {
  const places = boxes.map(({ id }) => ({ id, ...layout.places.get(id) }));
  for (const one of places) {
    assert.ok(one.x >= 0 && one.y >= GAP.title - 1, "below the title");
    assert.ok(one.x + one.w <= layout.w + 0.01 && one.y + one.h <= layout.h + 0.01, "inside the frame");
    for (const other of places) {
      if (one.id >= other.id) continue;
      assert.ok(one.x + one.w <= other.x || other.x + other.w <= one.x
        || one.y + one.h <= other.y || other.y + other.h <= one.y, `${one.id} and ${other.id} overlap`);
    }
  }
  for (const { key, from, to } of edges) {
    const { points } = layout.routes.get(key);
    const y = typeof from === "string" ? 0 : layout.places.get(from).y + layout.places.get(from).h;
    assert.ok(Math.abs(points[0].y - y) < 0.01);
    const end = typeof to === "string" ? layout.h : layout.places.get(to).y;
    assert.ok(Math.abs(points.at(-1).y - end) < 0.01);
    assert.ok(points.every(({ x }) => x >= 0 && x <= layout.w + 0.01), "lines stay inside");
    if (typeof from !== "string" && typeof to !== "string") {
      assert.ok(layout.places.get(to).y > layout.places.get(from).y, "downwards");
    }
  }
}

test("random scopes of any size, well or in haste", () => {
  let lanes = 0;
  for (let seed = 1; seed <= 40; seed += 1) {
    const next = random(seed);
    const count = seed % 8 === 0 ? 300 : 1 + next(30);
    const boxes = children(count);
    const edges = new Map();
    for (let to = 1; to < count; to += 1) {
      for (let n = next(3); n >= 0; n -= 1) {
        const one = edge(next(to), to);
        edges.set(one.key, one);
      }
    }
    for (let n = 0; n < 3; n += 1) {
      const [into, out] = [edge(`in ${n}`, next(count)), edge(next(count), `out ${n}`)];
      edges.set(into.key, into).set(out.key, out);
    }
    const layout = layoutScope(boxes, [...edges.values()], engine);
    check(boxes, [...edges.values()], layout);
    lanes += [...layout.routes.values()].filter((route) => route.lane).length;
  }
  assert.ok(lanes > 100);
});

test("what feeds many goes down a lane of its own, and moves nothing", () => {
  const boxes = children(20);
  const chain = boxes.slice(1).map(({ id }) => edge(id - 1, id));
  const fed = boxes.map(({ id }) => edge("in 0", id));
  const alone = layoutScope(boxes, chain, engine);
  const both = layoutScope(boxes, [...chain, ...fed], engine);
  check(boxes, [...chain, ...fed], both);
  const lanes = [...both.routes.values()].filter((route) => route.lane);
  assert.ok(lanes.length >= 17);
  assert.equal(new Set(lanes.map(({ points }) => points[2].x)).size, 1);
  assert.ok(both.w - alone.w < 60);
});

test("a plain sequence is one column", () => {
  const boxes = children(30);
  const layout = layoutScope(boxes, boxes.slice(1).map(({ id }) => edge(id - 1, id)), engine);
  const centres = boxes.map(({ id, w }) => layout.places.get(id).x + w / 2);
  assert.ok(centres.every((x) => Math.abs(x - centres[0]) < 0.01));
});

test("ranks: below all that is used, constants right above their user", () => {
  const ranks = ranksOf(children(5), [edge(0, 1), edge(1, 2), edge(0, 2), edge(3, 2), edge("in 0", 0), edge(2, "out 0")]);
  assert.deepEqual([0, 1, 2, 3, 4, "in 0", "out 0"].map((end) => ranks.get(end)), [1, 2, 3, 2, 1, 0, 4]);
});

test("no children, and children without a line", () => {
  assert.equal(layoutScope([], [], engine).places.size, 0);
  check(children(3), [], layoutScope(children(3), [], engine));
  const through = [edge("in 0", "out 0")];
  check(children(1), through, layoutScope(children(1), through, engine));
});

test("tensors at an open scope stand as its ports do", () => {
  const boxes = [{ id: 0, w: 60, h: 40, room: 60 }, { id: 1, w: 90, h: 40, room: 90 }, { id: 2, w: 400, h: 99, room: 400 }];
  for (const [first, second] of [[10, 300], [300, 10]]) {
    const edges = [first, second].map((x, id) => ({ ...edge(id, 2), wish: { end: id, row: "into 2", x } }));
    const layout = layoutScope(boxes, edges, engine);
    check(boxes, edges, layout);
    assert.equal(layout.places.get(0).x < layout.places.get(1).x, first < second);
  }
});
