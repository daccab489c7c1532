// What repeats, shown once: the tree and the links as they show while some runs of equal blocks are folded, as `recorder.fold`
// has them. The first block of a run stands for all of it, "× 12". Links end at what stands for an end; those from one
// repetition to the next are gone. Around a sequence that repeats there is a scope of its own while it is folded.

/** The runs of a recording, the innermost first. `runs`: `[{times, first, size, name, title}]`, where the nodes of all
 *  repetitions follow each other from `first` on, `size` in each; `title` is of a sequence alone. */
export function foldable(model, runs, folded) {
  const { items, nodes, top } = model;
  for (const item of items) Object.assign(item, { home: item.parent, members: item.children, ownName: item.short });
  nodes.forEach((node, n) => {
    for (let item = node; item; item = item.home) item.firstNode ??= n;
  });
  model.places = [...items];
  model.runs = runs.map(({ times, first, size, name, title }) => {
    const run = { times, first, size, name, folded, group: null, home: null };
    run.home = homeOf(nodes[first], nodes[first + (times - 1) * size]) ?? top;
    if (title) {
      run.group = { kind: "scope", look: "collapsed", id: items.length, parent: null, home: run.home, children: [],
        members: [], source: { name: `${name} × ${times}`, op_type: title }, inside: size, firstNode: first,
        name: `${name} × ${times}`, title, short: name, ownName: name, hint: "", into: [], outOf: [], links: new Map() };
      items.push(run.group);
    }
    return run;
  });
  model.groups = model.runs.flatMap(({ group }) => (group ? [group] : []));
}

/** The innermost scope around two nodes that a run holds: that of its blocks. */
function homeOf(one, other) {
  const around = new Set();
  for (let scope = one.home; scope; scope = scope.home) around.add(scope);
  for (let scope = other.home; scope; scope = scope.home) if (around.has(scope)) return scope;
  return null;
}

/** Build tree and links anew: to be called when a run was folded or opened. */
export function arrange(model) {
  const { items, nodes } = model;
  for (const item of items) {
    Object.assign(item, { parent: item.home, children: [], shown: item, run: null, times: 0, short: item.ownName,
      alike: null, level: 0 });
    item.links?.clear();
  }
  const standIn = standIns(model);
  nodes.forEach((node, n) => {
    node.shown = nodes[standIn(n)];
  });
  for (const scope of model.scopes) if (scope.firstNode !== undefined) scope.shown = standInOf(scope, nodes);
  const valueOf = shownValues(model);
  gather(model);
  for (const item of model.places) if (item.shown !== item) (item.shown.alike ??= [item.shown]).push(item);
  for (const item of items) if (item.kind === "value" && item.alike) item.times = item.alike.length;
  hang(model);
  linked(model, valueOf);
}

/** Which node stands for each, by number. */
function standIns({ runs, nodes }) {
  const found = nodes.map((_, n) => n);
  for (const { folded, first, size, times } of runs) {
    if (folded) for (let n = first + size; n < first + size * times; n += 1) found[n] = first + (n - first) % size;
  }
  // A stand-in is an earlier node, whose own is known.
  found.forEach((to, n) => {
    found[n] = to === n ? n : found[to];
  });
  return (n) => found[n];
}

/** Blocks that are alike are nested alike. */
function standInOf(scope, nodes) {
  const node = nodes[scope.firstNode];
  let at = node.shown;
  for (let item = node; item !== scope; item = item.home) at = at.home;
  return at;
}

/** Tensors that no node made, and outputs, stand for each other as what uses or makes them does. Gives, for each value,
 *  the one that stands for it. */
function shownValues({ doc, items, producer, nodes }) {
  const valueOf = (v) => {
    const from = producer.get(v);
    if (!from || from.shown === from) return v;
    if (from.kind === "value") return from.shown.value ?? v;
    return from.shown.source.outputs[from.source.outputs.indexOf(v)] ?? v;
  };
  const outputs = new Map();
  for (const item of items) {
    if (item.kind !== "value") continue;
    if (item.look !== "output") {
      const users = item.outOf.map((flow) => flow.to).filter((user) => user.kind === "node");
      if (!users.length || item.outOf.some(({ to }) => to.shown === to)) continue;
      const first = users.reduce((a, b) => (b.firstNode < a.firstNode ? b : a));
      const instead = first.shown.source.inputs[first.source.inputs.indexOf(item.value)];
      item.shown = producer.get(instead)?.shown ?? item;
    } else {
      const v = valueOf(item.value);
      if (!outputs.has(v)) outputs.set(v, item);
      item.shown = outputs.get(v);
    }
  }
  return valueOf;
}

/** Say of each place that stands for others how often it was there, and put a scope around each sequence that repeats. */
function gather({ runs, nodes }) {
  for (const run of runs) {
    const { folded, first, size, times, name, group, home } = run;
    if (group) Object.assign(group, { shown: null, members: [] });
    if (!folded || nodes[first].shown !== nodes[first]) continue;
    const inside = new Set();
    for (let n = first; n < first + size; n += 1) {
      let item = nodes[n];
      while (item.home !== home) item = item.home;
      inside.add(item);
    }
    const place = group ?? [...inside][0];
    Object.assign(place, { run, times, short: name });
    if (!group) continue;
    Object.assign(group, { shown: group, parent: home, members: [...inside] });
    for (let item of inside) {
      while (item.parent !== home && item.parent !== group) item = item.parent;
      item.parent = group;
    }
  }
}

/** Children as they ran, tensors before those that use them; and how deep each item is. */
function hang({ items, top }) {
  for (const item of items) if (item.parent && item.shown === item) item.parent.children.push(item);
  const waiting = [top];
  for (let item; (item = waiting.pop()); ) {
    item.children.sort((a, b) => a.first - b.first || a.id - b.id);
    for (const child of item.children) {
      child.level = item.level + 1;
      waiting.push(child);
    }
  }
}

/** Note every flow at the scopes whose inside it touches, and those of the other repetitions where the first one's are. */
function linked({ flows }, valueOf) {
  const found = new Map();
  const others = [];
  for (const flow of flows) {
    const [from, to] = [flow.from.shown, flow.to.shown];
    const key = `${from.id} ${to.id} ${valueOf(flow.value)}`;
    if (to !== flow.to) others.push([key, flow]);
    else if (from !== to) found.set(key, [...(found.get(key) ?? []), ...lift(from, to, valueOf(flow.value), flow)]);
  }
  for (const [key, flow] of others) for (const link of found.get(key) ?? []) link.flows.push(flow);
}

/** The links of a flow at each level: between two children, or between a child and the border. */
function lift(from, to, value, flow) {
  const links = [];
  while (from.parent !== to.parent) {
    if (from.parent.level >= to.parent.level) {
      links.push(link(from.parent, from, null, value, flow));
      from = from.parent;
    } else {
      links.push(link(to.parent, null, to, value, flow));
      to = to.parent;
    }
  }
  return [...links, link(from.parent, from, to, value, flow)];
}

function link(scope, from, to, value, flow) {
  const key = `${from ? from.id : "in"} ${to ? to.id : "out"} ${value}`;
  const found = scope.links.get(key);
  if (found) {
    found.flows.push(flow);
    return found;
  }
  const made = { from, to, value, flows: [flow] };
  scope.links.set(key, made);
  return made;
}

/** All that an item stands for, itself first. */
export function alikeOf(item) {
  if (item.run?.group === item) return item.members.flatMap(alikeOf);
  return item.alike ?? [item];
}

/** Whether an item, or one around it, is drawn once for several. */
export function isSeveral(item) {
  for (; item; item = item.parent) if (item.run) return true;
  return false;
}

/** The folded runs that an item stands in and does not show for. */
export function runsHiding(model, item) {
  const n = item.kind === "value" ? item.outOf[0]?.to.firstNode ?? item.into[0]?.from.firstNode : item.firstNode;
  return model.runs.filter(({ folded, first, size, times }) => folded && n >= first + size && n < first + size * times);
}

/** The run that an item shows all of, and could be folded into: the innermost one. */
export function runAround(model, item) {
  if (item.kind === "value") return null;
  return model.runs.find(({ folded, home, first, size, times }) => !folded && item.home === home
    && item.firstNode >= first && item.firstNode < first + size * times) ?? null;
}
