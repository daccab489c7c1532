// The scene as SVG, kept from one state to the next: what stays moves, what is new grows out of the box that it was in.

import { baselines, frameTitle, linesOf, repeatsOf } from "./boxes.mjs";
import { svg } from "./dom.mjs";
import { GAP } from "./layout.mjs";
import { curveOf, headOf, wordsOf } from "./links.mjs";
import { pathOf, placeOf } from "./scene.mjs";

const DURATION = 260;
/** More things than these appear at once: a movement that stutters helps nobody. */
const TOO_MANY = 1500;
/** What is known by a key, and not by an item. */
const BY_KEY = new Set(["edges", "labels", "links"]);

export class Drawing {
  constructor(world, backwardFlows) {
    this.layers = Object.fromEntries(["frames", "edges", "titles", "labels", "links", "boxes"].map((name) => {
      const layer = svg("g", { class: name });
      world.append(layer);
      return [name, { layer, drawn: new Map() }];
    }));
    this.backwardFlows = backwardFlows;
    this.scene = null;
  }

  element(kind, key) {
    return this.layers[kind].drawn.get(key)?.element;
  }

  /** Draw a scene. `camera` is called with the part of the way, 0 to 1, while things move; the promise ends with it. */
  show(scene, camera, still = false) {
    const before = this.scene;
    this.scene = scene;
    this.stop?.();
    const moves = [
      ...this.sync("frames", scene.frames, before, makeFrame, setFrame),
      ...this.sync("titles", scene.frames, before, makeTitle, setFrame),
      ...this.sync("boxes", scene.boxes, before, makeBox, setBox),
      ...this.sync("edges", scene.edges, before, (edge) => this.makeEdge(edge), setEdge),
      ...this.sync("labels", scene.labels, before, makeLabel, setLabel),
      ...this.sync("links", scene.links, before, makeLinkLine, setLinkLine),
    ];
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const size = scene.boxes.size + scene.edges.size;
    if (!before || still || calm || size > TOO_MANY || document.hidden) return this.finish(moves, camera);
    return new Promise((done) => {
      const start = performance.now();
      let frame = 0;
      const step = (now) => {
        const time = Math.min(1, Math.max(0, (now - start) / DURATION));
        const part = 1 - (1 - time) ** 3;
        for (const move of moves) move(part);
        camera(part);
        if (time < 1) frame = requestAnimationFrame(step);
        else done(this.finish(moves, camera));
      };
      this.stop = () => {
        cancelAnimationFrame(frame);
        done(this.finish(moves, camera));
      };
      step(start);
    });
  }

  finish(moves, camera) {
    this.stop = null;
    for (const move of moves) move(1);
    camera(1);
    return Promise.resolve();
  }

  /** Add, keep and remove the elements of one layer; gives what is to be called on the way from old to new. */
  sync(kind, wanted, before, make, set) {
    const { layer, drawn } = this.layers[kind];
    const moves = [];
    for (const [key, one] of drawn) {
      if (wanted.has(key) && one.times === timesOf(kind, key)) continue;
      drawn.delete(key);
      const goal = kind !== "titles" && isRect(kind) && placeOf(this.scene, key);
      if (!goal) one.element.remove();
      else moves.push(leave(one, kind === "frames" ? goal : middle(goal, one.place), set));
    }
    let previous = null;
    for (const [key, place] of wanted) {
      let one = drawn.get(key);
      const from = one?.place;
      if (!one) {
        one = { element: make(BY_KEY.has(kind) ? place : key), place, times: timesOf(kind, key) };
        drawn.set(key, one);
        if (previous) previous.after(one.element);
        else layer.prepend(one.element);
        const origin = before && isRect(kind) && placeOf(before, key);
        const start = origin && (kind === "boxes" ? middle(origin, place) : origin);
        moves.push(appear(one, start || place, place, set));
      } else {
        one.place = place;
        moves.push((part) => set(one.element, between(from, place, part), place));
      }
      previous = one.element;
    }
    return moves;
  }

  makeEdge(edge) {
    const backward = edge.flows.some((flow) => this.backwardFlows.has(flow.id));
    const values = edge.flows.map((flow) => flow.value);
    return svg("g", { class: "edge", "data-key": edge.key, "data-values": [...new Set(values)].join(" ") },
      svg("path", { class: "hit" }),
      svg("path", { class: "line" }),
      edge.arrow ? svg("path", { class: "head" }) : null,
      backward ? svg("path", { class: "gradient" }) : null,
      backward && edge.ends[0] !== null ? svg("path", { class: "gradient-head" }) : null);
  }
}

/** What a box or a title says of how many it stands for changes, and then it is drawn anew. */
function timesOf(kind, key) {
  return kind === "boxes" || kind === "titles" ? repeatsOf(key) : 0;
}

function isRect(kind) {
  return kind === "frames" || kind === "titles" || kind === "boxes";
}

function leave(one, goal, set) {
  const from = one.place;
  return (part) => {
    if (part >= 1) return one.element.remove();
    one.element.setAttribute("opacity", 1 - part);
    return set(one.element, between(from, goal, part), goal);
  };
}

function appear(one, from, place, set) {
  return (part) => {
    if (part >= 1) one.element.removeAttribute("opacity");
    else one.element.setAttribute("opacity", part);
    set(one.element, between(from, place, part), place);
  };
}

/** A rectangle of the second one's size in the middle of the first. */
function middle(around, { w, h }) {
  return { x: around.x + (around.w - w) / 2, y: around.y + (around.h - h) / 2, w, h };
}

function between(from, to, part) {
  if (part >= 1 || from === to) return to;
  const mix = (a, b) => a + (b - a) * part;
  if (to.points) {
    const points = to.points.map((point, i) => {
      const old = from.points[Math.round(i * (from.points.length - 1) / Math.max(1, to.points.length - 1))];
      return { x: mix(old.x, point.x), y: mix(old.y, point.y) };
    });
    return { points, lane: to.lane, across: to.across };
  }
  const place = { x: mix(from.x, to.x), y: mix(from.y, to.y) };
  return to.w === undefined ? place : { ...place, w: mix(from.w, to.w), h: mix(from.h, to.h) };
}

function makeBox(item) {
  const lines = linesOf(item);
  const baseline = baselines(lines);
  const shadow = item.kind === "scope" ? svg("rect", { class: "under", rx: 7, x: 3, y: 3 }) : null;
  return svg("g", { class: `box ${item.kind} look-${item.look}`, "data-id": item.id, "data-name": item.name },
    shadow,
    svg("rect", { class: "body", rx: item.kind === "value" ? 2 : 7 }),
    lines.map((line, i) => makeLine(line, baseline[i])));
}

function makeLine(line, y) {
  // Parts cost a browser as much as lines do, and most lines have one.
  if (line.length === 1) return svg("text", { y, class: `type-${line[0].type}` }, line[0].text);
  return svg("text", { y }, line.map(({ text, type }) =>
    svg("tspan", { class: `type-${type}`, "xml:space": "preserve" }, text)));
}

function setBox(element, { x, y, w, h }) {
  element.setAttribute("transform", `translate(${x} ${y})`);
  for (const part of element.children) {
    if (part.localName === "text") part.setAttribute("x", w / 2);
    else if (part.localName === "rect") {
      part.setAttribute("width", w);
      part.setAttribute("height", h);
    }
  }
}

function shadeOf(item) {
  const level = item.level - 1;
  return `shade-${level < 4 ? level : 2 + (level % 2)}`;
}

function makeFrame(item) {
  const look = item.source.error ? " look-error" : "";
  return svg("g", { class: `frame ${shadeOf(item)}${look}`, "data-id": item.id, "data-name": item.name },
    svg("rect", { class: "body", rx: 9 }));
}

/** Apart from the frame, as lines go between the two. All of the bar can be clicked. */
function makeTitle(item) {
  const { title, name } = frameTitle(item);
  return svg("g", { class: `title ${shadeOf(item)}`, "data-id": item.id },
    svg("rect", { class: "bar", height: GAP.title }),
    svg("text", { x: 11, y: 18 },
      svg("tspan", { class: "type-title" }, title),
      name ? svg("tspan", { class: "type-name", dx: 7 }, name) : null));
}

function setFrame(element, { x, y, w, h }) {
  element.setAttribute("transform", `translate(${x} ${y})`);
  element.firstChild.setAttribute("width", w);
  if (element.firstChild.classList.contains("body")) element.firstChild.setAttribute("height", h);
}

function setEdge(element, edge, goal) {
  const path = pathOf(edge);
  const first = edge.points[0];
  const last = edge.points.at(-1);
  for (const part of element.children) {
    if (part.classList.contains("head")) {
      part.setAttribute("d", edge.across ? `M${last.x - 7} ${last.y - 3.5}V${last.y + 3.5}L${last.x} ${last.y}Z`
        : `M${last.x - 3.5} ${last.y - 7}H${last.x + 3.5}L${last.x} ${last.y}Z`);
    } else if (part.classList.contains("gradient-head")) {
      part.setAttribute("d", edge.across ? `M${first.x + 7} ${first.y + 2}v7l-7 -3.5Z`
        : `M${first.x + 2} ${first.y + 7}h7l-3.5 -7Z`);
    } else part.setAttribute("d", path);
  }
  element.classList.toggle("lane", Boolean(goal.lane));
}

function makeLinkLine(line) {
  return svg("g", { class: "link", "data-ends": line.ends.map((end) => end.id).join(" ") },
    svg("title", {}, wordsOf(line)),
    svg("path", { class: "hit" }),
    svg("path", { class: "line" }),
    line.sent ? svg("path", { class: "head" }) : null);
}

function setLinkLine(element, { points }) {
  for (const part of element.children) {
    if (part.localName === "path") part.setAttribute("d", part.classList.contains("head") ? headOf(points) : curveOf(points));
  }
}

function makeLabel(label) {
  return svg("text", { class: "shape", "data-source": label.key }, label.text);
}

function setLabel(element, { x, y }, goal) {
  element.setAttribute("x", x);
  element.setAttribute("y", y);
  if (element.textContent !== goal.text) element.textContent = goal.text;
}
