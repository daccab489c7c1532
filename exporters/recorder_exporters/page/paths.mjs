// What leads to a place, what follows from it, and what lies between two: found in the recording itself, not in what is
// drawn, so that a closed scope is no short cut.

import { leaves } from "./model.mjs";

/** The leaves that can be reached from some items along flows, those items' own included; against the flow if `back`. */
export function reachable(items, back = false) {
  const found = new Set();
  const pending = [];
  for (const item of items) for (const leaf of leaves(item)) pending.push(leaf);
  while (pending.length) {
    const leaf = pending.pop();
    if (found.has(leaf)) continue;
    found.add(leaf);
    for (const flow of back ? leaf.into : leaf.outOf) pending.push(back ? flow.from : flow.to);
  }
  return found;
}

/** Leaves and flows on the way to (`"up"`), from (`"down"`), or to and from (`"both"`) an item. */
export function pathsOf(item, way) {
  const lit = { leaves: new Set(leaves(item)), flows: new Set() };
  for (const back of way === "up" ? [true] : way === "down" ? [false] : [true, false]) {
    const found = reachable([item], back);
    keep(lit, found, (flow) => found.has(flow.from) && found.has(flow.to));
  }
  return lit;
}

/** Leaves and flows on all ways from one item to the other, whichever comes first. Empty if there is none. */
export function pathsBetween(one, other) {
  for (const [first, last] of [[one, other], [other, one]]) {
    const behind = reachable([last], true);
    const found = new Set([...reachable([first])].filter((leaf) => behind.has(leaf)));
    if (found.size) {
      const lit = { leaves: new Set(), flows: new Set() };
      keep(lit, found, (flow) => found.has(flow.from) && found.has(flow.to));
      return lit;
    }
  }
  return { leaves: new Set(), flows: new Set() };
}

function keep(lit, found, wanted) {
  for (const leaf of found) {
    lit.leaves.add(leaf);
    for (const flow of leaf.outOf) if (wanted(flow)) lit.flows.add(flow);
  }
}
