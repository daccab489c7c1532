// The recording as a tree of items with flows between its leaves, and what of each flow is seen at each level.
//
// An item is a scope, a node, or a tensor that no node made (and each output of the graph). A flow is one tensor that
// goes from one leaf to another. Scopes that it leaves or enters on the way show it at a port of their border, so that
// each level can be laid out by itself, once, whatever is open elsewhere.

import { arrange, foldable } from "./folding.mjs";
import { linksOf } from "./links.mjs";

/** Build the model of a graph document. `labels` holds, in the order of the document's nodes and scopes, what to write
 *  on them: `hints` and `names` of nodes, `scopes` the names of scopes; and the `runs` of what repeats, and whether to
 *  `fold` them at first; if that is "auto", a view may think again. */
export function buildModel(doc, labels) {
  const items = [];
  const add = (item) => {
    item.id = items.length;
    items.push(item);
    if (item.parent) {
      item.parent.children.push(item);
      item.level = item.parent.level + 1;
    }
    return item;
  };
  const top = add({ kind: "scope", look: "scope", parent: null, level: 0, children: [], source: null, inside: 0 });
  const scopes = [];
  doc.scopes.forEach((scope, i) => {
    const parent = scope.parent === undefined || scope.parent === null ? top : scopes[scope.parent];
    const look = scope.error ? "error" : markOf(doc, scope) ?? "collapsed";
    scopes.push(add({ kind: "scope", look, parent, children: [], source: scope, inside: 0, name: scope.name,
      title: signOf(scope) + scope.op_type, short: labels.scopes[i], hint: "" }));
  });
  const values = doc.values;
  const producer = new Map();
  const given = new Set(doc.inputs);
  const nodes = doc.nodes.map((node, i) => {
    const parent = node.scope === undefined || node.scope === null ? top : scopes[node.scope];
    const look = node.error ? "error" : markOf(doc, node) ?? (node.meta && "collapsed" in node.meta ? "collapsed" : node.kind);
    const item = add({ kind: "node", look, parent, children: [], source: node, inside: 1, name: node.name,
      title: signOf(node) + node.op_type, short: labels.names[i], hint: wordsOf(node) || labels.hints[i] });
    for (const v of node.outputs ?? []) producer.set(v, item);
    for (let scope = parent; scope; scope = scope.parent) scope.inside += 1;
    return item;
  });
  const tensors = drawnTensors(doc, values, producer, given, nodes);
  for (const [v, users] of tensors) {
    const parent = given.has(v) ? top : users.map((item) => item.parent).reduce(commonScope, undefined) ?? top;
    producer.set(v, add({ kind: "value", look: values[v].role, parent, children: [], source: values[v], inside: 0,
      value: v, name: values[v].name, title: values[v].role === "activation" ? "unknown origin" : values[v].name,
      short: "", hint: "" }));
  }
  const flows = [];
  const seen = new Set();
  const flow = (v, to) => {
    const from = producer.get(v);
    if (!from || seen.has(`${v} ${to.id}`)) return;
    seen.add(`${v} ${to.id}`);
    flows.push({ id: flows.length, value: v, from, to });
  };
  doc.nodes.forEach((node, i) => {
    for (const v of node.inputs ?? []) {
      if (!isMember(values[v]) || given.has(v) || node.kind === "function") flow(v, nodes[i]);
    }
  });
  for (const [v, names] of returned(doc)) {
    flow(v, add({ kind: "value", look: "output", parent: top, children: [], source: values[v], inside: 0, value: v,
      name: values[v].name, title: [...names].join(", ") || "output", short: "", hint: "" }));
  }
  for (const item of items) {
    item.into = [];
    item.outOf = [];
  }
  for (const one of flows) {
    one.from.outOf.push(one);
    one.to.into.push(one);
  }
  inOrder(nodes, items);
  items.forEach((item) => item.kind === "scope" && (item.links = new Map()));
  const model = { doc, items, top, scopes, nodes, values, flows, producer, links: linksOf(doc, nodes) };
  foldable(model, labels.runs ?? [], Boolean(labels.fold));
  for (const group of model.groups) group.first = group.firstNode;
  arrange(model);
  return model;
}

/** The graph's outputs, each once, with what its calls name it. */
function returned(doc) {
  const found = new Map(doc.outputs.map((v) => [v, new Set()]));
  doc.outputs.forEach((v, i) => doc.output_names?.[i] && found.get(v).add(doc.output_names[i]));
  return found;
}

/** The order of children: as they ran, tensors before those that use them. */
function inOrder(nodes, items) {
  for (const item of items) item.first = item.kind === "value" && item.outOf.length ? -1 : Infinity;
  nodes.forEach((node, i) => {
    for (let item = node; item; item = item.parent) item.first = Math.min(item.first, i);
  });
}

function isMember(value) {
  return value.role === "parameter" || value.role === "buffer";
}

/** The tensors that no node made and that are drawn, with those that use them. A module's own parameters are not: they
 *  would outnumber everything else, and are listed with the module's details. */
function drawnTensors(doc, values, producer, given, nodes) {
  const users = new Map();
  for (const v of [...doc.inputs, ...doc.outputs]) if (!producer.has(v)) users.set(v, []);
  doc.nodes.forEach((node, i) => {
    for (const v of node.inputs ?? []) {
      if (producer.has(v) || (isMember(values[v]) && !given.has(v) && node.kind !== "function")) continue;
      if (!users.has(v)) users.set(v, []);
      users.get(v).push(nodes[i]);
    }
  });
  return users;
}

/** The innermost scope around both of two scopes. */
export function commonScope(one, other) {
  if (one === undefined) return other;
  while (one !== other) {
    if (one.level >= other.level) one = one.parent;
    else other = other.parent;
  }
  return one;
}

/** The item itself and all around it, without the top. */
export function* around(item) {
  for (; item && item.parent; item = item.parent) yield item;
}

/** The nodes and tensors at or below an item. */
export function* leaves(item) {
  if (item.kind !== "scope") yield item;
  else for (const member of item.members) yield* leaves(member);
}

// What a graph that shows two says of a call: see drawing/differences.py. A file can say anything there.
const LOOKS = ["added", "removed", "changed", "rewired"];

function markOf(doc, place) {
  if (doc.meta?.diff !== true) return null;
  const mark = place.meta?.diff?.mark;
  return LOOKS.includes(mark) ? mark : "context";
}

function signOf(place) {
  const sign = place.meta?.diff?.sign;
  return typeof sign === "string" && sign.length === 1 ? `${sign} ` : "";
}

function wordsOf(place) {
  const words = place.meta?.diff?.words;
  return typeof words === "string" ? words : "";
}

/** Flows that enter an item from outside, and those that leave it. */
export function crossing(item) {
  const inside = new Set(leaves(item));
  const into = [];
  const outOf = [];
  for (const leaf of inside) {
    into.push(...leaf.into.filter((flow) => !inside.has(flow.from)));
    outOf.push(...leaf.outOf.filter((flow) => !inside.has(flow.to)));
  }
  return { into, outOf };
}

/** The scopes to open at first: whole levels, as long as no more than `budget` boxes show; with `depth`, so many levels
 *  of calls. What failed is always in sight. */
export function openedAtFirst(model, budget, depth = null) {
  const open = new Set([model.top]);
  let level = [model.top];
  let shown = model.top.children.length;
  for (let opened = 0; level.length && (depth === null || opened < depth); opened += 1) {
    const next = level.flatMap((scope) => scope.children.filter((child) => child.kind === "scope"));
    const more = next.reduce((sum, scope) => sum + scope.children.length - 1, 0);
    if (depth === null && shown + more > budget && opened > 0) break;
    shown += more;
    next.forEach((scope) => open.add(scope));
    level = next;
  }
  for (const item of model.nodes) if (item.source.error) for (const scope of around(item.shown.parent)) open.add(scope);
  return open;
}
