// The page: what is open, picked, searched and coloured, and what the reader does about it.

import { Address } from "./address.mjs";
import { browserWidths, frameTitle, makeSizeOf } from "./boxes.mjs";
import { Camera } from "./camera.mjs";
import { byId } from "./dom.mjs";
import { Drawing } from "./draw.mjs";
import { Looks } from "./looks.mjs";
import { metricsOf, saidOf } from "./metrics.mjs";
import { Minimap } from "./minimap.mjs";
import { alikeOf, arrange, runAround, runsHiding } from "./folding.mjs";
import { around, buildModel, crossing } from "./model.mjs";
import { Opening } from "./opening.mjs";
import { Panel } from "./panel.mjs";
import { pathsBetween, pathsOf } from "./paths.mjs";
import { download, pngBlob, svgText } from "./save.mjs";
import { partsOf } from "./sheet.mjs";
import { Layouts, boundsOf, buildScene, placeOf } from "./scene.mjs";
import { SearchBox } from "./searchbox.mjs";
import { Timeline } from "./timeline.mjs";
import { Work } from "./work.mjs";
import { captionOf, legible } from "./text.mjs";

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
    this.layouts.across = settings.direction === "LR";
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
      repeat: (item) => this.repeat(item),
      close: () => this.pick(null),
    });
    this.search = new SearchBox(this.model, (item) => this.reveal(item), (found) => this.looks.mark(found));
    this.address = new Address(this.model, (item) => this.reveal(item), (name) =>
      this.say(`the link leads to ${legible(name, 80)}, which is not in this recording`));
    const placeOfName = new Map([...this.model.nodes, ...this.model.scopes].map((item) => [item.name, item]));
    this.timeline = new Timeline(settings.memory.length ? doc.meta?.memory : null, settings.memory,
      (name) => placeOfName.get(name), (item) => this.reveal(item));
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
    const scopes = [...this.model.scopes, ...this.model.groups].filter((scope) => scope.shown === scope);
    const opened = scopes.filter((scope) => this.layouts.open.has(scope)).length;
    byId("counts").textContent = `${plural(this.model.nodes.length, "node")} · `
      + `${opened} of ${plural(scopes.length, "scope")} open`;
    byId("canvas").classList.toggle("across", this.layouts.across);
    byId("across").checked = this.layouts.across;
    byId("fold").checked = this.model.runs.some((run) => run.folded);
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

  /** Let everything flow to the right, or down. */
  turn(across) {
    this.work.leave?.();
    this.layouts.across = across;
    this.layouts.forget();
    const whole = this.opening.fitted && this.opening.whole;
    return this.render(null, (scene) => (scene.boxes.size ? this.camera.viewOf(this.opening.bounds(scene), whole)
      : this.camera.view));
  }

  /** Fold and show runs of what repeats. What is picked stays so if it shows. */
  setFolded(runs, folded, anchor = null, viewOf = null) {
    this.work.leave?.();
    for (const run of runs) run.folded = folded;
    arrange(this.model);
    this.layouts.forget();
    if (this.picked && this.picked.shown !== this.picked) this.pick(this.picked.shown, true);
    const done = this.render(anchor?.shown ?? this.picked, viewOf);
    if (this.picked) this.panel.showItem(this.picked, this.layouts.isOpen(this.picked));
    return done;
  }

  /** Show all that an item stands for, or fold it with those that are like it. */
  repeat(item) {
    const run = item.run ?? runAround(this.model, item);
    if (!run) return;
    const anchor = run.group && item === run.group ? run.group.members[0] : item;
    if (anchor !== item) this.pick(null, true);
    this.setFolded([run], !item.run, anchor);
  }

  /** Open or close whole levels: all, or one more, or one less than now. */
  async openAll() {
    const scopes = [...this.model.scopes, ...this.model.groups].filter((scope) => scope.shown === scope);
    const ahead = this.layouts.with(scopes);
    const hidden = this.model.nodes.filter((node) => node.shown === node && !this.scene.boxes.has(node)).length;
    if (hidden > LONG) {
      const inner = [...scopes].sort((one, other) => other.level - one.level);
      const steps = [...inner, this.model.top].map((scope) => () => ahead.of(scope));
      if (!await this.work.run(`Opening ${plural(hidden, "node")}…`, steps)) return;
    }
    this.layouts = ahead;
    this.render(null, (scene) => this.camera.viewOf({ x: 0, y: 0, w: scene.w, h: scene.h }));
  }

  closeAll() {
    this.work.leave?.();
    this.layouts.change([...this.layouts.open].filter((scope) => scope.level !== 1), false);
    this.render(null, (scene) => this.camera.viewOf({ x: 0, y: 0, w: scene.w, h: scene.h }));
  }

  /** Bring an item into sight, opening what hides it, and pick it. */
  reveal(item) {
    this.work.leave?.();
    for (const run of runsHiding(this.model, item)) run.folded = false;
    if (item.shown !== item) {
      arrange(this.model);
      this.layouts.forget();
    }
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
      if (!quiet) this.camera.uncover(placeOf(this.scene, item));
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
  step(key) {
    // Where everything flows across, so do the keys.
    const direction = this.layouts.across ? { right: "down", left: "up", down: "right", up: "left" }[key] : key;
    const shown = (leaf) => {
      for (const item of [...around(leaf.shown)].reverse()) if (this.scene.boxes.has(item)) return item;
      return leaf.shown;
    };
    // Of what is drawn once for several, what leads to the next repetition leads nowhere.
    const beyond = (ends) => ends.map(shown).find((item) => item !== this.picked) ?? null;
    if (!this.picked) return this.goTo([...this.scene.boxes.keys()][0]);
    const crossed = alikeOf(this.picked).map(crossing);
    let next = null;
    if (direction === "down") next = beyond(crossed.flatMap(({ outOf }) => outOf.map((flow) => flow.to)));
    else if (direction === "up") next = beyond(crossed.flatMap(({ into }) => into.map((flow) => flow.from)));
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
    const said = metric && item.kind !== "value" ? saidOf(metric, item) : "";
    const measured = said && `${metric.label}: ${said}`;
    const several = item.run ? `${item.times} alike, drawn once; x shows all` : "";
    return [legible(item.name, 200), several, shapes, measured].filter(Boolean).join("\n");
  }

  get title() {
    return legible(this.settings.title, 120);
  }

  /** All that is drawn as SVG, or what of it is in view. */
  picture(inView = false) {
    const view = inView ? common(this.camera.window, this.opening.bounds(this.scene)) : null;
    return svgText(this.scene, this.title, this.looks.legend(), view);
  }

  async save(kind) {
    const name = (this.settings.title.replace(/[^\w.-]+/g, "_") || "graph").slice(0, 80);
    if (kind === "json") download(new Blob([byId("graph").textContent], { type: "application/json" }), `${name}.json`);
    else {
      const [type, view] = kind.split(" ");
      const text = this.picture(Boolean(view));
      const scale = view ? Math.max(0.5, this.camera.k) : 1;
      download(type === "svg" ? new Blob([text], { type: "image/svg+xml" }) : await pngBlob(text, scale), `${name}.${type}`);
      const parts = view ? 1 : partsOf(this.scene).length;
      if (parts > 1) this.say(`saved in ${parts} ${this.scene.h >= this.scene.w ? "columns" : "rows"}, as it is long`);
    }
  }

  /** Tell the reader something, for as long as it takes to read. */
  say(text) {
    byId("notice").textContent = text;
    clearTimeout(this.said);
    this.said = setTimeout(() => byId("notice").textContent === text && byId("notice").replaceChildren(), 8000);
  }
}

/** What two rectangles share. */
function common(one, other) {
  const [x, y] = [Math.max(one.x, other.x), Math.max(one.y, other.y)];
  const [right, below] = [Math.min(one.x + one.w, other.x + other.w), Math.min(one.y + one.h, other.y + other.h)];
  return { x, y, w: Math.max(1, right - x), h: Math.max(1, below - y) };
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

