// The page: what is open, picked, searched and coloured, and what the reader does about it.

import { Address } from "./address.mjs";
import { browserWidths, frameTitle, makeSizeOf } from "./boxes.mjs";
import { Camera } from "./camera.mjs";
import { byId } from "./dom.mjs";
import { Drawing } from "./draw.mjs";
import { Looks } from "./looks.mjs";
import { metricsOf } from "./metrics.mjs";
import { Minimap } from "./minimap.mjs";
import { around, buildModel, crossing } from "./model.mjs";
import { Opening } from "./opening.mjs";
import { Panel } from "./panel.mjs";
import { pathsBetween, pathsOf } from "./paths.mjs";
import { download, pngBlob, svgText } from "./save.mjs";
import { Layouts, boundsOf, buildScene, placeOf } from "./scene.mjs";
import { SearchBox } from "./searchbox.mjs";
import { Work } from "./work.mjs";
import { captionOf, figures, legible } from "./text.mjs";

/** More nodes than this take a while to open. */
const LONG = 800;

export class App {
  constructor(doc, settings, engine) {
    this.settings = settings;
    this.model = buildModel(doc, settings);
    const widthOf = browserWidths();
    const titleWidth = (scope) => {
      const { title, name } = frameTitle(scope);
      return widthOf(title, "title") + widthOf(name, "name") + 34;
    };
    this.layouts = new Layouts(this.model, engine, makeSizeOf(widthOf), titleWidth);
    this.opening = new Opening(this);
    this.opening.begin();
    this.metrics = metricsOf(doc, settings.figures);
    this.looks = new Looks(this, settings.styles, settings.scales);
    this.drawing = new Drawing(byId("world"), this.backwardFlows(settings.reached));
    this.camera = new Camera(byId("canvas"), byId("world"), () => this.minimap?.look(),
      () => byId("panel"));
    this.minimap = new Minimap(this.camera, (item, framed) => this.looks.fillOf(item, framed));
    this.panel = new Panel(this.model, this.metrics, {
      reveal: (item) => this.reveal(item),
      path: (item, way) => this.highlight(pathsOf(item, way)),
      toggle: (item) => this.toggle(item),
      close: () => this.pick(null),
    });
    this.search = new SearchBox(this.model, (item) => this.reveal(item), (found) => this.looks.mark(found));
    this.address = new Address(this.model, (item) => this.reveal(item), (name) =>
      this.say(`the link leads to ${legible(name, 80)}, which is not in this recording`));
    this.work = new Work();
    this.picked = null;
    this.pickedEdge = null;
    this.lit = null;
  }

  /** The first picture. */
  start() {
    this.scene = buildScene(this.layouts);
    this.drawing.show(this.scene, () => {}, true);
    this.redrawn();
    this.opening.watch(byId("canvas"), () => this.address.follow());
  }

  /** The flows whose gradient came back: both ends reached, along a tensor that has one. */
  backwardFlows(reached) {
    const there = new Set(reached.map((i) => this.model.nodes[i]));
    const came = this.model.flows.filter(({ value, from, to }) =>
      there.has(from) && there.has(to) && this.model.values[value].requires_grad);
    return new Set(came.map((flow) => flow.id));
  }

  /** Draw what is open now. The anchor, an item, stays where it is on the screen; or go to a `view`. */
  render(anchor, viewOf = null) {
    this.drawing.stop?.();
    const before = anchor && placeOf(this.scene, anchor);
    this.scene = buildScene(this.layouts);
    const after = anchor && placeOf(this.scene, anchor);
    let view = this.camera.view;
    if (viewOf) view = viewOf(this.scene);
    else if (before && after) {
      const { x, y, k } = view;
      view = { k, x: x + k * (before.x + before.w / 2 - after.x - after.w / 2), y: y + k * (before.y - after.y) };
    }
    const done = this.drawing.show(this.scene, this.camera.towards(view));
    this.redrawn();
    return done;
  }

  redrawn() {
    this.looks.apply();
    this.minimap.paint(this.scene);
    byId("canvas").setAttribute("aria-label", `${this.scene.boxes.size} boxes, ${this.scene.frames.size} open scopes`);
    const opened = this.layouts.open.size - 1;
    byId("counts").textContent = `${plural(this.model.nodes.length, "node")} · `
      + `${opened} of ${plural(this.model.scopes.length, "scope")} open`;
  }

  fit(whole = false) {
    const places = [...this.scene.boxes.values(), ...this.scene.frames.values()];
    if (!places.length) return;
    this.camera.set(this.camera.viewOf(boundsOf(places), whole));
    Object.assign(this.opening, { fitted: this.camera.view, whole });
  }

  toggle(item) {
    if (item.kind !== "scope" || !item.parent) return;
    this.setOpen([item], !this.layouts.isOpen(item), item);
  }

  setOpen(scopes, opened, anchor = null) {
    this.work.leave?.();
    this.layouts.change(scopes, opened);
    this.render(anchor ?? this.picked);
    if (this.picked) this.panel.showItem(this.picked, this.layouts.isOpen(this.picked));
  }

  /** Open or close whole levels: all, or one more, or one less than now. */
  async openAll() {
    const ahead = this.layouts.with(this.model.scopes);
    const hidden = this.model.nodes.filter((node) => !this.scene.boxes.has(node)).length;
    if (hidden > LONG) {
      const inner = [...this.model.scopes].sort((one, other) => other.level - one.level);
      const steps = [...inner, this.model.top].map((scope) => () => ahead.of(scope));
      if (!await this.work.run(`Opening ${plural(hidden, "node")}…`, steps)) return;
    }
    this.layouts = ahead;
    this.render(null, (scene) => this.camera.viewOf({ x: 0, y: 0, w: scene.w, h: scene.h }));
  }

  closeAll() {
    this.work.leave?.();
    this.layouts.change(this.model.scopes.filter((scope) => scope.level > 1), false);
    this.render(null, (scene) => this.camera.viewOf({ x: 0, y: 0, w: scene.w, h: scene.h }));
  }

  /** Bring an item into sight, opening what hides it, and pick it. */
  reveal(item) {
    this.work.leave?.();
    this.layouts.change([...around(item.parent)], true);
    this.pick(item, true);
    return this.render(null, (scene) => this.camera.viewAt(placeOf(scene, item)));
  }

  /** Pick an item, or nothing. What touches it is lit. */
  pick(item, quiet = false) {
    this.picked = item;
    this.pickedEdge = null;
    this.lit = null;
    this.address.write(item);
    if (item) {
      const { into, outOf } = crossing(item);
      this.lit = { leaves: new Set([...into.map((f) => f.from), ...outOf.map((f) => f.to)]),
        flows: new Set([...into, ...outOf]), faint: true };
      this.panel.showItem(item, this.layouts.isOpen(item));
    } else this.panel.hide();
    if (!quiet) this.looks.apply();
  }

  pickEdge(key) {
    const edge = this.scene.edges.get(key);
    if (!edge) return;
    this.picked = null;
    this.address.write(null);
    this.pickedEdge = key;
    this.lit = { leaves: new Set(edge.flows.flatMap((flow) => [flow.from, flow.to])), flows: new Set(edge.flows),
      faint: true };
    this.panel.showEdge(edge);
    this.looks.apply();
  }

  highlight(lit) {
    this.lit = lit;
    this.looks.apply();
  }

  /** What lies between the picked item and another. */
  between(item) {
    if (this.picked && this.picked !== item) this.highlight(pathsBetween(this.picked, item));
    else this.pick(item);
  }

  /** Go on from the picked item: along or against the flow, or to its neighbours in the same scope. */
  step(direction) {
    const shown = (leaf) => {
      for (const item of [...around(leaf)].reverse()) if (this.scene.boxes.has(item)) return item;
      return leaf;
    };
    if (!this.picked) return this.goTo([...this.scene.boxes.keys()][0]);
    const { into, outOf } = crossing(this.picked);
    let next = null;
    if (direction === "down") next = outOf.length ? shown(outOf[0].to) : null;
    else if (direction === "up") next = into.length ? shown(into[0].from) : null;
    else {
      const siblings = this.picked.parent.children;
      next = siblings[siblings.indexOf(this.picked) + (direction === "right" ? 1 : -1)];
    }
    return this.goTo(next);
  }

  goTo(item) {
    const place = item && placeOf(this.scene, item);
    if (!place) return;
    this.pick(item);
    const view = this.camera.viewAt(place);
    this.drawing.stop?.();
    this.drawing.show(this.scene, this.camera.towards({ ...view, k: Math.max(this.camera.k, 0.5) }));
  }

  /** A few words for a box under the pointer: its whole name, what it makes, and the number that colours it. */
  tipOf(item) {
    const { metric } = this.looks;
    const values = item.kind === "value" ? [item.value] : item.source.outputs ?? [];
    const shapes = values.slice(0, 4).map((v) => captionOf(this.model.values[v])).join(", ");
    const number = metric && item.kind !== "value" ? metric.of(item.source) : null;
    const measured = number === null ? "" : `${metric.label}: ${figures(number, metric.words)}`;
    return [legible(item.name, 200), shapes, measured].filter(Boolean).join("\n");
  }

  get title() {
    return legible(this.settings.title, 120);
  }

  picture() {
    return svgText(this.scene, this.title, this.looks.legend());
  }

  async save(kind) {
    const name = (this.settings.title.replace(/[^\w.-]+/g, "_") || "graph").slice(0, 80);
    if (kind === "json") download(new Blob([byId("graph").textContent], { type: "application/json" }), `${name}.json`);
    else {
      const text = this.picture();
      const svg = () => new Blob([text], { type: "image/svg+xml" });
      download(kind === "svg" ? svg() : await pngBlob(text, this.scene), `${name}.${kind}`);
    }
  }

  /** Tell the reader something, for as long as it takes to read. */
  say(text) {
    byId("notice").textContent = text;
    clearTimeout(this.said);
    this.said = setTimeout(() => byId("notice").textContent === text && byId("notice").replaceChildren(), 8000);
  }
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

