// What shows at first, and when: as many levels as can be read with the whole in view. A page that loads where it has no
// size, as in a hidden tab or a closed part of a notebook, waits for one, and knows nothing of it before.

import { READABLE } from "./camera.mjs";
import { arrange } from "./folding.mjs";
import { around, openedAtFirst } from "./model.mjs";
import { boundsOf, buildScene, placeOf } from "./scene.mjs";

/** Boxes that show at first. */
const BUDGET = 90;
/** Calls that say something of a model, and those that say enough: fewer, and it has all in a wrapper or two. */
const FEW = 3;
const ENOUGH = 8;
/** A first look at the whole may be smaller than what is read with ease. */
const GLANCE = 0.3;

export class Opening {
  constructor(app) {
    Object.assign(this, { app, done: false, fitted: null, whole: false });
  }

  /** Open what the budget allows: all that can be said without a size. */
  begin() {
    const { layouts, model, settings } = this.app;
    layouts.change([...openedAtFirst(model, BUDGET, settings.depth)], true);
  }

  /** From now on the view follows the size; `after` is called when the first one was there. */
  watch(element, after) {
    this.after = after;
    this.resized();
    new ResizeObserver(() => this.resized()).observe(element);
  }

  /** The first size decides what shows. With any later one the whole stays in view, until the reader looks elsewhere. */
  resized() {
    const { app } = this;
    const { w, h } = app.camera.size;
    if (!w || !h) return;
    if (!this.done) {
      this.done = true;
      this.closeWhatIsTooMuch();
      app.looks.colours = null; // a frame that is not displayed has none
      app.render(null);
      app.drawing.stop?.();
      this.look(app.camera.scaleOf(this.bounds(app.scene)) >= GLANCE);
      this.after();
    } else if (this.fitted && same(this.fitted, app.camera.view)) this.look(this.whole);
    app.minimap.paint(app.scene);
  }

  /** Close the innermost levels for as long as the whole is too small to read, and enough is left to look at. */
  closeWhatIsTooMuch() {
    const { layouts, model, settings } = this.app;
    if (settings.depth !== null) return;
    let found = this.best();
    // To say no more than "× 60" of all is to say too little, if there is room for more.
    if (settings.fold === "auto" && found.calls < FEW && model.runs.length) {
      this.refold(false);
      const other = this.best();
      if (other.calls > found.calls && other.scale >= GLANCE) found = other;
      else this.refold(true);
    }
    layouts.change([...layouts.open], false);
    layouts.change(found.open, true);
  }

  /** Begin again with all that repeats folded, or with nothing folded. */
  refold(folded) {
    const { layouts, model } = this.app;
    for (const run of model.runs) run.folded = folded;
    arrange(model);
    layouts.forget();
    layouts.change([...layouts.open], false);
    this.begin();
  }

  /** The levels to open: the most of those that can be read in one look, or else the best there is. */
  best() {
    const looks = [...this.levels()];
    return looks.find(({ scale, calls }) => scale >= READABLE && calls >= ENOUGH)
      ?? looks.find(({ scale, calls }) => scale >= GLANCE && calls >= ENOUGH)
      ?? looks.find(({ scale, calls }) => scale >= READABLE && calls >= FEW)
      ?? looks.findLast(({ calls }) => calls >= FEW) ?? looks[0];
  }

  /** What shows with fewer and fewer levels open: how near it can be seen with all in view, and how many calls that are. */
  *levels() {
    const { layouts, model, camera } = this.app;
    const kept = new Set(model.nodes.filter((node) => node.source.error)
      .flatMap((node) => [...around(node.shown.parent)]));
    const deepest = () => Math.max(...[...layouts.open].filter((one) => !kept.has(one)).map((one) => one.level), 0);
    for (let level = deepest(); ; level = deepest()) {
      const scene = buildScene(layouts);
      const calls = [...scene.boxes.keys()].filter((item) => item.kind !== "value").length;
      yield { open: [...layouts.open], scale: camera.scaleOf(this.bounds(scene)), calls };
      if (level <= 1) return;
      layouts.change([...layouts.open].filter((one) => one.level === level && !kept.has(one)), false);
    }
  }

  bounds(scene) {
    return boundsOf([...scene.boxes.values(), ...scene.frames.values()]);
  }

  look(whole) {
    const { app } = this;
    const failed = app.model.nodes.findLast((item) => item.source.error);
    app.fit(whole);
    if (failed) app.camera.set(app.camera.viewAt(placeOf(app.scene, failed)));
    this.fitted = app.camera.view;
  }
}

function same(one, other) {
  return one.x === other.x && one.y === other.y && one.k === other.k;
}
