// From what is open to what is drawn and where: boxes, frames of open scopes, and lines, in one plane. No DOM here.

import { DOWN, layoutScope } from "./layout.mjs";
import { linkLinesOf } from "./links.mjs";
import { crossing } from "./model.mjs";
import { captionOf } from "./text.mjs";

/** Of shapes beside lines: how far from them, and how wide a letter is. */
const LABEL = { gap: 6, letter: 6.2 };

/** The scopes laid out so far, kept until something inside one opens or closes. */
export class Layouts {
  constructor(model, engine, sizeOf, titleWidth) {
    Object.assign(this, { model, engine, sizeOf, titleWidth });
    this.open = new Set([model.top]);
    this.across = false;
    this.kept = new Map();
    this.labels = new Map();
    this.looks = new Map();
  }

  /** Forget all that was laid out, as the tree is another one. What looks as before is still known. */
  forget() {
    this.kept.clear();
    this.labels.clear();
  }

  /** Open and close scopes. What is around them has to be laid out again. */
  change(scopes, opened) {
    for (const scope of scopes) {
      if (opened) this.open.add(scope);
      else if (scope !== this.model.top) this.open.delete(scope);
      for (let item = scope; item; item = item.parent) this.kept.delete(item);
    }
  }

  /** The same with some more scopes open, for the work ahead: these stay as they are. */
  with(scopes) {
    const copy = new Layouts(this.model, this.engine, this.sizeOf, this.titleWidth);
    Object.assign(copy, { across: this.across, open: new Set(this.open), kept: new Map(this.kept), labels: this.labels, looks: this.looks });
    copy.change(scopes.filter((scope) => !this.open.has(scope)), true);
    return copy;
  }

  isOpen(item) {
    return item.kind === "scope" && this.open.has(item);
  }

  /** The size of a child, as the layout has it: of its inside if it is open. `room` is how wide it is with what stands
   *  beside its line. */
  size(item) {
    if (this.isOpen(item)) {
      const { w, h } = this.of(item);
      return { w, h, room: w };
    }
    const { w, h } = this.sizeOf(item);
    if (this.across) return { w: h, h: w, room: h };
    return { w, h, room: Math.max(w, 2 * (LABEL.gap + LABEL.letter * this.labelOf(item).length)) };
  }

  /** The way that everything flows in a scope: across there is room for the longest of what stands on the lines. */
  way(children) {
    if (!this.across) return DOWN;
    const longest = Math.max(0, ...children.filter((child) => !this.isOpen(child)).map((one) => this.labelOf(one).length));
    return { across: true, rank: Math.max(DOWN.rank, Math.ceil(longest * LABEL.letter) + 2 * LABEL.gap + 10) };
  }

  /** The shapes of what leaves an item, for beside its line; "" for what tells its shape itself. */
  labelOf(item) {
    if (item.kind === "value") return "";
    if (!this.labels.has(item)) {
      const values = [...new Set(crossing(item).outOf.map((flow) => flow.value))];
      const texts = [...new Set(values.map((value) => captionOf(this.model.values[value])))];
      const many = texts.length > 1 ? `${values.length} tensors` : `${values.length} × (${texts[0]})`;
      this.labels.set(item, values.length > 1 ? many : texts[0] ?? "");
    }
    return this.labels.get(item);
  }

  /** The layout of an open scope, its edges among it. */
  of(scope) {
    const found = this.kept.get(scope);
    if (found) return found;
    const edges = this.edges(scope);
    this.alongPorts(edges);
    const titled = scope.parent !== null;
    const layout = this.laidOut(scope.children, edges, titled);
    if (titled) (this.across ? lengthen : widen)(layout, this.titleWidth(scope));
    layout.edges = edges;
    this.kept.set(scope, layout);
    return layout;
  }

  /** A layout of children and edges. Nets repeat their blocks, and what looks the same is laid out once: children and
   *  ports are numbered for that, and named again in a copy. */
  laidOut(children, edges, titled) {
    const index = new Map(children.map((child, i) => [child.id, i]));
    const ports = new Map();
    const numbered = (end) => {
      if (typeof end !== "string") return index.get(end);
      if (!ports.has(end)) ports.set(end, `${end.split(" ")[0]} ${ports.size}`);
      return ports.get(end);
    };
    const sizes = children.map((child, id) => ({ id, ...this.size(child) }));
    const lines = edges.map(({ from, to, wish }, key) => ({ key: String(key), from: numbered(from), to: numbered(to),
      wish: wish && { end: numbered(wish.end), x: wish.x, row: wish.row } }));
    const way = this.way(children);
    const look = JSON.stringify([sizes, lines, titled, way]);
    if (!this.looks.has(look)) this.looks.set(look, layoutScope(sizes, lines, this.engine, titled, way));
    const { w, h, places, ports: portX, routes } = this.looks.get(look);
    return {
      w, h,
      places: new Map(children.map((child, i) => [child.id, { ...places.get(i) }])),
      ports: new Map([...ports].map(([name, number]) => [name, portX.get(number)])),
      routes: new Map(edges.map(({ key }, i) => {
        const { points, lane } = routes.get(String(i));
        return [key, { points: points.map((point) => ({ ...point })), lane }];
      })),
    };
  }

  /** Note where a tensor's line goes on inside an open scope, so that tensors can stand in that order. */
  alongPorts(edges) {
    for (const edge of edges) {
      const [from, to] = edge.ends;
      if (from?.kind === "value" && from.outOf.length === 1 && to && this.isOpen(to)) {
        edge.wish = { end: edge.from, x: this.of(to).ports.get(`in ${edge.values[0]}`), row: `into ${to.id}` };
      } else if (to?.kind === "value" && from && this.isOpen(from)) {
        edge.wish = { end: edge.to, x: this.of(from).ports.get(`out ${edge.values[0]}`), row: `out of ${from.id}` };
      }
    }
  }

  /** The links of a scope as they show: those between the same ends are one. */
  edges(scope) {
    const found = new Map();
    for (const link of scope.links.values()) {
      const from = link.from ? link.from.id : `in ${link.value}`;
      const to = link.to ? link.to.id : `out ${link.value}`;
      const inner = (link.from && this.isOpen(link.from)) || (link.to && this.isOpen(link.to)) ? link.value : "";
      const key = `${scope.id}: ${from} > ${to} ${inner}`;
      const edge = found.get(key) ?? { key, from, to, scope, ends: [link.from, link.to], values: [], flows: [] };
      edge.values.push(link.value);
      edge.flows.push(...link.flows);
      found.set(key, edge);
    }
    return [...found.values()];
  }
}

/** Room for a title that is wider than what it stands above. */
function widen(layout, width) {
  const more = width - layout.w;
  if (more <= 0) return;
  layout.w = width;
  for (const place of layout.places.values()) place.x += more / 2;
  for (const [port, x] of layout.ports) layout.ports.set(port, x + more / 2);
  for (const { points } of layout.routes.values()) for (const point of points) point.x += more / 2;
}

/** The same where everything flows across: what is inside moves to the middle, and lines at the borders get longer. */
function lengthen(layout, length) {
  const more = length - layout.h;
  if (more <= 0) return;
  for (const place of layout.places.values()) place.y += more / 2;
  for (const { points } of layout.routes.values()) {
    for (const point of points) {
      if (point.y >= layout.h) point.y = length;
      else if (point.y > 0) point.y += more / 2;
    }
  }
  layout.h = length;
}

/** Everything that shows, in absolute coordinates: `boxes` and `frames` by item, `edges`, `labels` and `links` by key. */
export function buildScene(layouts) {
  const { model } = layouts;
  const scene = { boxes: new Map(), frames: new Map(), edges: new Map(), labels: new Map() };
  const place = (scope, x, y) => {
    const layout = layouts.of(scope);
    if (scope.parent) scene.frames.set(scope, { x, y, w: layout.w, h: layout.h });
    else Object.assign(scene, { w: layout.w, h: layout.h });
    for (const child of scope.children) {
      const { x: left, y: top, w, h } = layout.places.get(child.id);
      if (layouts.isOpen(child)) place(child, x + left, y + top);
      else scene.boxes.set(child, { x: x + left, y: y + top, w, h });
    }
    for (const edge of layout.edges) {
      const { points, lane } = layout.routes.get(edge.key);
      const moved = points.map((point) => ({ x: x + point.x, y: y + point.y }));
      meetPort(moved, 0, edge.ends[0], `out ${edge.values[0]}`, layouts, layout, x, lane);
      meetPort(moved, moved.length - 1, edge.ends[1], `in ${edge.values[0]}`, layouts, layout, x, lane);
      const arrow = edge.ends[1] !== null && !layouts.isOpen(edge.ends[1]);
      scene.edges.set(edge.key, { ...edge, points: moved, lane, arrow });
    }
  };
  place(model.top, 0, 0);
  if (layouts.across) mirror(scene);
  label(scene, layouts);
  scene.links = linkLinesOf(model.links, scene.boxes);
  return scene;
}

/** Let flow to the right what flows down. */
function mirror(scene) {
  const mirrored = ({ x, y, w, h }) => ({ x: y, y: x, w: h, h: w });
  for (const rects of [scene.boxes, scene.frames]) for (const [key, rect] of rects) rects.set(key, mirrored(rect));
  for (const [key, edge] of scene.edges) {
    scene.edges.set(key, { ...edge, across: true, points: edge.points.map(({ x, y }) => ({ x: y, y: x })) });
  }
  [scene.w, scene.h] = [scene.h, scene.w];
}

/** End a line at the open scope's port, where it goes on inside. */
function meetPort(points, at, item, port, layouts, layout, x, lane) {
  if (item === null || !layouts.isOpen(item)) return;
  const inside = layouts.of(item).ports.get(port);
  if (inside === undefined) return;
  const target = x + layout.places.get(item.id).x + inside;
  points[at].x = target;
  if (lane) points[at === 0 ? 1 : at - 1].x = target;
}

/** The shapes of what leaves a box, written once, beside its first line, or on it where it goes across. */
function label(scene, layouts) {
  for (const edge of scene.edges.values()) {
    const [source] = edge.ends;
    if (source === null || layouts.isOpen(source)) continue;
    const text = layouts.labelOf(source);
    if (!text) continue;
    const [start] = edge.points;
    const [x, y] = edge.across ? [start.x + LABEL.gap, start.y - 5] : [start.x + LABEL.gap, start.y + 12];
    const found = scene.labels.get(source) ?? { x, y, text, key: source.id };
    Object.assign(found, { x: Math.max(found.x, x), y: Math.min(found.y, y) });
    scene.labels.set(source, found);
  }
}

/** An SVG path: a curve through the points, or straight with round corners where a line has its own lane. */
export function pathOf({ points, lane, across }) {
  return lane ? rounded(points) : curved(points, across);
}

function at({ x, y }) {
  return `${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10}`;
}

/** Upright at every point, as everything flows downwards; or level, where it flows across. */
function curved(points, across) {
  let path = `M${at(points[0])}`;
  for (let i = 1; i < points.length; i += 1) {
    const [a, b] = [points[i - 1], points[i]];
    const middle = across ? (a.x + b.x) / 2 : (a.y + b.y) / 2;
    if (Math.abs(across ? a.y - b.y : a.x - b.x) < 0.5) path += `L${at(b)}`;
    else if (across) path += `C${at({ x: middle, y: a.y })} ${at({ x: middle, y: b.y })} ${at(b)}`;
    else path += `C${at({ x: a.x, y: middle })} ${at({ x: b.x, y: middle })} ${at(b)}`;
  }
  return path;
}

function rounded(points, radius = 6) {
  let path = `M${at(points[0])}`;
  for (let i = 1; i < points.length - 1; i += 1) {
    const [a, b, c] = [points[i - 1], points[i], points[i + 1]];
    path += `L${at(towards(b, a, radius))}Q${at(b)} ${at(towards(b, c, radius))}`;
  }
  return `${path}L${at(points.at(-1))}`;
}

function towards(from, to, radius) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const part = length ? Math.min(radius, length / 2) / length : 0;
  return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part };
}

/** The smallest rectangle around some of a scene's boxes and frames. */
export function boundsOf(rects) {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const { x, y, w, h } of rects) {
    box.left = Math.min(box.left, x);
    box.top = Math.min(box.top, y);
    box.right = Math.max(box.right, x + w);
    box.bottom = Math.max(box.bottom, y + h);
  }
  return { x: box.left, y: box.top, w: box.right - box.left, h: box.bottom - box.top };
}

/** Where an item shows: its own box or frame, or that of the closed scope that hides it. */
export function placeOf(scene, item) {
  for (item = item?.shown ?? item; item; item = item.parent) {
    const found = scene.boxes.get(item) ?? scene.frames.get(item);
    if (found) return found;
  }
  return null;
}
