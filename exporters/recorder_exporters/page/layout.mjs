// The layout of one open scope: its children, of known size, in ranks from top to bottom, and the ways of what flows
// between them and through the scope's border. Each open scope is laid out by itself, from the inside out.
//
// Dagre does it well, and slowly where edges are long: it works on each rank that an edge passes. So an edge that
// feeds many far children, as a mask feeds every block, goes down a lane beside them, and a scope that would still be
// too much is placed in plain rows, with a lane for all that skips a row.

export const GAP = { node: 22, rank: 34, edge: 12, lane: 9, pad: 14, title: 26 };

/** The way of what flows: down, with the usual room between two ranks; or across, with room for what stands on lines. */
export const DOWN = { across: false, rank: GAP.rank };

/** Ranks that the edges of one scope may pass together for dagre to lay it out: about a quarter of a second. */
const TOO_LONG = 1200;
const MANY_USERS = 4;
const FAR = 2;

/**
 * Lay out a scope.
 *
 * children: `[{id, w, h, room}]` in execution order, `room` for the width with what stands beside. edges: `[{key, from,
 * to, wish}]`, where an end is a child's id or a port, "in …" or "out …"; a `wish {end, row, x}` says by which x the ends
 * of one row should be in order. Gives `{w, h, places: Map id → {x, y} of the upper left corner, ports: Map port → x,
 * routes: Map key → {points, lane}}`, all from the scope's upper left corner, with room for its title if `titled`.
 * Everything flows downwards here: to lie across, all is given and taken as in a mirror, and the title stands at the left.
 */
export function layoutScope(children, edges, engine, titled = true, way = DOWN) {
  const ranks = ranksOf(children, edges);
  const far = farEdges(edges, ranks);
  const placed = isChain(children, edges, ranks) ? byRows(children, edges, ranks, far, way)
    : byDagreIfShort(children, edges, ranks, far, engine, way) ?? byRows(children, edges, ranks, far, way);
  inOrderOfPorts(children, edges, placed);
  return framed(children, edges, far, placed, titled, way);
}

/** By Dagre, without the far edges; null if that would take too long. A far edge that then leads upwards is none. */
function byDagreIfShort(children, edges, ranks, far, engine, way) {
  for (;;) {
    const near = edges.filter((edge) => !far.has(edge));
    if (near.reduce((sum, edge) => sum + spanOf(edge, ranks), children.length) > TOO_LONG) return null;
    const placed = byDagre(children, near, edges, engine, way);
    const y = (end) => placed.places.get(end)?.y;
    const upwards = [...far].filter(({ from, to }) => y(from) >= y(to));
    if (!upwards.length) return placed;
    for (const edge of upwards) far.delete(edge);
  }
}

const isPort = (end) => typeof end === "string";

/** The rank of each child and port: below all that it depends on. Ports "out" stand in the last one. */
export function ranksOf(children, edges) {
  const after = new Map(children.map((child) => [child.id, []]));
  const missing = new Map(children.map((child) => [child.id, 0]));
  const ranks = new Map();
  for (const { from, to } of edges) {
    if (isPort(from)) ranks.set(from, 0);
    if (isPort(from) || isPort(to)) continue;
    after.get(from).push(to);
    missing.set(to, missing.get(to) + 1);
  }
  const pending = children.filter((child) => !missing.get(child.id)).map((child) => child.id);
  for (const id of pending) ranks.set(id, 1);
  for (let id; (id = pending.pop()) !== undefined; ) {
    for (const next of after.get(id)) {
      ranks.set(next, Math.max(ranks.get(next) ?? 1, ranks.get(id) + 1));
      missing.set(next, missing.get(next) - 1);
      if (!missing.get(next)) pending.push(next);
    }
  }
  const fed = new Set(edges.map((edge) => edge.to));
  let last = 1;
  for (const child of children) {
    if (!ranks.has(child.id)) ranks.set(child.id, 1);
    last = Math.max(last, ranks.get(child.id));
  }
  // What waits for nothing, such as a constant, stands right above its first user.
  for (const child of children) {
    if (fed.has(child.id) || !after.get(child.id).length) continue;
    const first = after.get(child.id).reduce((least, next) => Math.min(least, ranks.get(next)), Infinity);
    ranks.set(child.id, Math.max(1, first - 1));
  }
  for (const { to } of edges) if (isPort(to)) ranks.set(to, last + 1);
  return ranks;
}

/** Whether there is but one way to place the children: one below the other. */
function isChain(children, edges, ranks) {
  return new Set(children.map((child) => ranks.get(child.id))).size === children.length
    && new Set(edges.map((edge) => edge.from)).size === edges.length
    && edges.every((edge) => spanOf(edge, ranks) === 1);
}

function spanOf(edge, ranks) {
  return ranks.get(edge.to) - ranks.get(edge.from);
}

function farEdges(edges, ranks) {
  const bySource = new Map();
  for (const edge of edges) {
    if (!bySource.has(edge.from)) bySource.set(edge.from, []);
    bySource.get(edge.from).push(edge);
  }
  const far = new Set();
  for (const group of bySource.values()) {
    if (group.length < MANY_USERS) continue;
    for (const edge of group) if (spanOf(edge, ranks) > FAR) far.add(edge);
  }
  return far;
}

function byDagre(children, near, edges, engine, way) {
  const graph = new engine.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: GAP.node, edgesep: GAP.edge, ranksep: way.rank,
    ranker: children.length > 300 ? "longest-path" : "network-simplex" });
  for (const { id, room, h } of children) graph.setNode(`c${id}`, { width: room, height: h });
  const name = (end) => (isPort(end) ? `p${end}` : `c${end}`);
  const ports = new Set(edges.flatMap((edge) => [edge.from, edge.to]).filter(isPort));
  // Ports of one side are held together at the border, by a node that is not drawn.
  for (const port of ports) {
    graph.setNode(name(port), { width: 1, height: 0 });
    const [v, w] = port.startsWith("in") ? ["top", name(port)] : [name(port), "bottom"];
    for (const end of [v, w]) if (!graph.hasNode(end)) graph.setNode(end, { width: 1, height: 0 });
    graph.setEdge(v, w, { weight: 8 }, "anchor");
  }
  for (const edge of near) graph.setEdge(name(edge.from), name(edge.to), { weight: 1 }, edge.key);
  engine.layout(graph);
  const places = new Map();
  for (const { id, w, h } of children) {
    const { x, y } = graph.node(`c${id}`);
    places.set(id, { x: x - w / 2, y: y - h / 2 });
  }
  const portX = new Map([...ports].map((port) => [port, graph.node(name(port)).x]));
  const routes = new Map();
  for (const edge of near) {
    const { points } = graph.edge({ v: name(edge.from), w: name(edge.to), name: edge.key });
    routes.set(edge.key, points.map(({ x, y }) => ({ x, y })));
  }
  return { places, portX, routes };
}

/** Let tensors at one open scope change places until they stand as their ports do: Dagre knows of no ports, and takes
 *  such children for equals. */
function inOrderOfPorts(children, edges, { places, routes }) {
  const rows = new Map();
  for (const edge of edges) {
    const place = edge.wish && routes.has(edge.key) && places.get(edge.wish.end);
    if (!place) continue;
    const row = `${edge.wish.row} ${place.y}`;
    if (!rows.has(row)) rows.set(row, []);
    const width = children.find((child) => child.id === edge.wish.end).w;
    rows.get(row).push({ edge, width, centre: place.x + width / 2, route: routes.get(edge.key) });
  }
  for (const row of rows.values()) {
    const slots = [...row].sort((a, b) => a.centre - b.centre);
    row.sort((a, b) => a.edge.wish.x - b.edge.wish.x);
    row.forEach(({ edge, width }, i) => {
      places.get(edge.wish.end).x = slots[i].centre - width / 2;
      routes.set(edge.key, slots[i].route);
    });
  }
}

/** Ranks as rows, each child below the middle of what it uses, as far as its neighbours leave room. All that skips a
 *  row is far. */
function byRows(children, edges, ranks, far, way) {
  for (const edge of edges) if (spanOf(edge, ranks) > 1) far.add(edge);
  const uses = new Map(children.map((child) => [child.id, []]));
  for (const edge of edges) if (!isPort(edge.from) && !isPort(edge.to)) uses.get(edge.to).push(edge.from);
  const rows = [];
  for (const child of children) (rows[ranks.get(child.id)] ??= []).push(child);
  const centre = new Map();
  const places = new Map();
  let y = 0;
  for (const row of rows.filter(Boolean)) {
    const wished = row.map((child) => {
      const known = uses.get(child.id).filter((id) => centre.has(id)).map((id) => centre.get(id));
      return { child, x: known.length ? known.reduce((sum, x) => sum + x, 0) / known.length : 0 };
    });
    wished.sort((a, b) => a.x - b.x);
    let free = -Infinity;
    let shift = 0;
    for (const one of wished) {
      one.left = Math.max(one.x - one.child.room / 2, free);
      free = one.left + one.child.room + GAP.node;
      shift += one.x - one.child.room / 2 - one.left;
    }
    const height = Math.max(...row.map((child) => child.h));
    for (const { child, left } of wished) {
      const x = left + shift / row.length + (child.room - child.w) / 2;
      places.set(child.id, { x, y: y + (height - child.h) / 2 });
      centre.set(child.id, x + child.w / 2);
    }
    y += height + way.rank;
  }
  const portX = new Map();
  for (const { from, to } of edges) {
    if (isPort(from) && !portX.has(from)) portX.set(from, centre.get(to) ?? 0);
    if (isPort(to)) portX.set(to, centre.get(from) ?? 0);
  }
  const routes = new Map();
  for (const edge of edges) if (!far.has(edge)) routes.set(edge.key, []);
  return { places, portX, routes };
}

/** Move everything into a frame with room for the title, end the routes at boxes and borders, and draw the lanes. */
function framed(children, edges, far, { places, portX, routes }, titled, way) {
  const boxes = children.map(({ id, w, h, room }) => ({ x: places.get(id).x - (room - w) / 4, y: places.get(id).y,
    w: w + (3 / 4) * (room - w), h }));
  const bends = [...routes.values()].flat();
  const xs = [...boxes.flatMap((b) => [b.x, b.x + b.w]), ...portX.values(), ...bends.map((p) => p.x)];
  const ys = [...boxes.flatMap((b) => [b.y, b.y + b.h])];
  const [left, right] = [xs.reduce((a, b) => Math.min(a, b), Infinity), xs.reduce((a, b) => Math.max(a, b), -Infinity)];
  const [upper, lower] = [ys.reduce((a, b) => Math.min(a, b), Infinity), ys.reduce((a, b) => Math.max(a, b), -Infinity)];
  const [aside, over] = way.across ? [titled ? GAP.title - 4 : 0, GAP.pad] : [0, titled ? GAP.title : GAP.pad];
  if (!boxes.length) return { w: 2 * GAP.pad + aside, h: over + GAP.pad, places, ports: new Map(), routes: new Map() };
  const kinds = new Set(edges.flatMap((edge) => [edge.from, edge.to]).filter(isPort).map((port) => port.split(" ")[0]));
  const above = over + (kinds.has("in") ? GAP.rank * 0.7 : 4);
  const below = kinds.has("out") ? GAP.rank * 0.8 : GAP.pad;
  const move = { x: GAP.pad + aside - left, y: above - upper };
  const height = above + (lower - upper) + below;
  const at = new Map();
  for (const child of children) {
    const { x, y } = places.get(child.id);
    at.set(child.id, { x: x + move.x, y: y + move.y, w: child.w, h: child.h });
  }
  const ports = new Map([...portX].map(([port, x]) => [port, x + move.x]));
  const edgeOfBox = (end, down) => {
    if (isPort(end)) return { x: ports.get(end), y: down ? 0 : height, half: 0 };
    const box = at.get(end);
    return { x: box.x + box.w / 2, y: down ? box.y + box.h : box.y, half: box.w / 2 };
  };
  const finished = new Map();
  for (const edge of edges) {
    const route = routes.get(edge.key);
    if (route) {
      // Between neighbouring ranks a single curve is smoother than one through the point in the middle.
      const inner = route.length > 3 ? route.slice(1, -1) : [];
      const middle = inner.map((p) => ({ x: p.x + move.x, y: p.y + move.y }));
      const [start, end] = [edgeOfBox(edge.from, true), edgeOfBox(edge.to, false)];
      if (middle.length > 1) {
        // The whole gap between two ranks for the turn, of which Dagre takes the first half, or the last.
        const [room, left] = [isPort(edge.from) ? above : start.y + way.rank, isPort(edge.to) ? height - below
          : end.y - way.rank];
        middle[0].y = Math.max(middle[0].y, Math.min(room - 2, middle[1].y));
        middle.at(-1).y = Math.min(middle.at(-1).y, Math.max(left + 2, middle.at(-2).y));
      }
      const first = leaning(start, middle.length ? middle[0].x : end.x);
      const last = leaning(end, middle.length ? middle.at(-1).x : start.x);
      const past = isPort(edge.from) && !way.across ? [{ x: first.x, y: titled ? GAP.title - 6 : 0 }] : [];
      finished.set(edge.key, { points: [first, ...past, ...middle, last], lane: false });
    }
  }
  let width = right - left + 2 * GAP.pad + aside;
  const lanes = lanesOf([...far].map((edge) => ({
    edge, start: edgeOfBox(edge.from, true), end: edgeOfBox(edge.to, false),
  })));
  for (const { edge, start, end, lane } of lanes) {
    const x = width - GAP.pad + 8 + lane * GAP.lane;
    finished.set(edge.key, { lane: true, points: [
      { x: start.x, y: start.y }, { x: start.x, y: start.y + 9 }, { x, y: start.y + 9 },
      { x, y: end.y - 11 }, { x: end.x, y: end.y - 11 }, { x: end.x, y: end.y },
    ] });
  }
  if (lanes.length) width += 8 + Math.max(...lanes.map(({ lane }) => lane)) * GAP.lane;
  return { w: width, h: height, places: at, ports, routes: finished };
}

/** A little towards where the edge goes, so that several at one box do not leave it at one point. */
function leaning(end, towards) {
  const room = Math.max(0, end.half - 14);
  return { x: end.x + Math.max(-room, Math.min(room, (towards - end.x) * 0.25)), y: end.y };
}

const LANES = 48;

/** Give each source of far edges a lane of its own as far down as its last user; sources that do not meet share one. */
function lanesOf(far) {
  const bySource = new Map();
  for (const one of far) {
    if (!bySource.has(one.edge.from)) bySource.set(one.edge.from, []);
    bySource.get(one.edge.from).push(one);
  }
  const groups = [...bySource.values()].map((group) => ({
    group, from: group[0].start.y, until: Math.max(...group.map((one) => one.end.y)),
  }));
  groups.sort((a, b) => a.until - a.from - (b.until - b.from) || a.from - b.from);
  const taken = [];
  for (const { group, from, until } of groups) {
    let lane = taken.findIndex((spans) => spans.every((span) => until < span.from || from > span.until));
    if (lane < 0) lane = taken.length < LANES ? taken.push([]) - 1 : taken.length - 1;
    taken[lane].push({ from, until });
    for (const one of group) one.lane = lane;
  }
  return far;
}
