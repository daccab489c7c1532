// Links between ranks: which lines show, whatever is open.

import assert from "node:assert/strict";
import { test } from "node:test";

import { linkLinesOf, linksOf } from "../../exporters/recorder_exporters/page/links.mjs";

const scope = (id) => ({ id, parent: null });
const one = scope(0);
const other = scope(1);
const nodes = [one, one, other, other].map((parent, i) => ({ id: 2 + i, parent }));
const doc = { links: [
  { op_type: "all_reduce", group: "0", number: 0, phase: "forward", members: [["0", 0], ["1", 2]] },
  { op_type: "send", group: "0", number: 0, phase: "forward", members: [["1", 3], ["0", 1]] },
  { op_type: "all_reduce", group: "0", number: 1, phase: "forward", members: [["1", 2], ["0", 0]] },
  { op_type: "broadcast", group: "0", number: 2, phase: "forward", members: [["0-1", 0]] },
] };
const place = (item, i) => [item, { x: 100 * i, y: 0, w: 50, h: 20 }];

test("a document without links has none", () => assert.deepEqual(linksOf({}, nodes), []));

test("links between the same boxes are one line, and one node has none", () => {
  const lines = [...linkLinesOf(linksOf(doc, nodes), new Map(nodes.map(place))).values()];
  assert.deepEqual(lines.map(({ ends, sent, links }) => [ends.map((end) => end.id), sent, links.length]),
    [[[2, 4], false, 2], [[5, 3], true, 1]]);
  const [[start, , , end]] = lines.map(({ points }) => points);
  assert.deepEqual([start.x, end.x], [50, 200]);
});

test("closed scopes are tied, and nothing is inside one", () => {
  const links = linksOf(doc, nodes);
  const closed = [...linkLinesOf(links, new Map([one, other].map(place))).values()];
  assert.deepEqual(closed.map(({ ends, sent }) => [ends.map((end) => end.id), sent]), [[[0, 1], false], [[1, 0], true]]);
  nodes.forEach((node) => { node.parent = one; });
  assert.equal(linkLinesOf(links, new Map([place(one, 0)])).size, 0);
});
