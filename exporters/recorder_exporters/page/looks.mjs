// Colours and emphasis of what is drawn: by kind or by a metric, what is picked and lit, what a search found.

import { byId, html } from "./dom.mjs";
import { around } from "./model.mjs";
import { REPEATED, ofAll, scaleOf } from "./metrics.mjs";
import { figures } from "./text.mjs";

export class Looks {
  /** `styles`: by class of item, what the legend calls it. `scales`: the colours of numbers, in light and in dark. */
  constructor(app, styles, scales) {
    this.app = app;
    this.styles = styles;
    this.scales = scales;
    this.metric = null;
    this.found = new Set();
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.retheme());
    this.prefersDark = dark;
  }

  get dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : this.prefersDark.matches;
  }

  switchTheme() {
    document.documentElement.dataset.theme = this.dark ? "light" : "dark";
    this.retheme();
  }

  retheme() {
    this.colours = null;
    this.apply();
    this.app.minimap.paint(this.app.scene);
  }

  colourBy(key) {
    this.metric = this.app.metrics.find((metric) => metric.key === key) ?? null;
    this.apply();
    this.app.minimap.paint(this.app.scene);
  }

  /** Mark what a search found; of closed scopes, those that hide some of it. */
  mark(items) {
    this.found = new Set(items);
    this.apply();
  }

  /** Put every look on what is drawn now. */
  apply() {
    const { app } = this;
    if (!app.scene) return;
    this.scale = this.metric && scaleOf(this.metric, app.model.places.filter((item) => item.source
      && item.kind !== "value" && item.shown === item), this.scales[this.dark ? "dark" : "light"]);
    const lit = this.litItems();
    const found = new Set([...this.found].flatMap((item) => [...around(item.shown)]));
    const canvas = byId("canvas");
    canvas.classList.toggle("some-lit", Boolean(app.lit));
    canvas.classList.toggle("faint", Boolean(app.lit?.faint));
    for (const kind of ["boxes", "frames"]) {
      for (const item of app.scene[kind].keys()) {
        const element = app.drawing.element(kind, item);
        element.classList.toggle("picked", item === app.picked);
        element.classList.toggle("lit", lit.has(item));
        element.classList.toggle("found", kind === "boxes" ? found.has(item) : this.found.has(item));
        if (kind === "boxes") this.colour(element, item);
      }
    }
    for (const [key, edge] of app.scene.edges) {
      const element = app.drawing.element("edges", key);
      const bright = Boolean(app.lit) && edge.flows.some((flow) => app.lit.flows.has(flow));
      element.classList.toggle("lit", bright);
      element.classList.toggle("picked", key === app.pickedEdge);
    }
    this.showLegend();
  }

  /** The items that are lit, and all around them. */
  litItems() {
    const { lit, picked } = this.app;
    const items = new Set();
    for (const leaf of [...(lit?.leaves ?? []), ...(picked ? [picked] : [])]) {
      for (const item of around(leaf.shown)) {
        if (items.has(item)) break;
        items.add(item);
      }
    }
    return items;
  }

  colour(element, item) {
    const style = this.scale && item.kind !== "value" ? this.scale.style(ofAll(this.metric, item)) : null;
    element.style.setProperty("--fill", style?.fill ?? "");
    element.style.setProperty("--text", style?.text ?? "");
    element.classList.toggle("measured", Boolean(style));
  }

  /** Colours of an item for the minimap and the legend. */
  fillOf(item, framed) {
    const colours = (this.colours ??= new Map());
    const look = framed ? "frame" : item.look;
    if (!framed && this.scale && item.kind !== "value") {
      return { fill: this.scale.style(ofAll(this.metric, item)).fill, line: this.lineOf("line") };
    }
    if (!colours.has(look)) {
      colours.set(look, framed ? { fill: this.lineOf("shade-1"), line: this.lineOf("frame-line") }
        : { fill: this.lineOf(`${look}-fill`), line: this.lineOf(`${look}-line`) });
    }
    return colours.get(look);
  }

  lineOf(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || "#888888";
  }

  /** What the colours mean: `[{fill, line, text}]`, of those that show. */
  legend() {
    const { scene, drawing } = this.app;
    if (this.scale) {
      const { low, high, metric, ramp, zero, broken, unknown, style } = this.scale;
      const words = (value) => figures(value, metric.words);
      const ends = high > low ? [{ text: words(low) }, ...ramp.map(({ fill }) => ({ fill })), { text: words(high) }]
        : high === low ? [{ fill: style(low).fill, text: words(low) }] : [];
      const others = [[zero, "0"], [broken, "NaN or Inf"], [unknown, "not known"]]
        .flatMap(([look, text]) => (look ? [{ fill: look.fill, text }] : []));
      const nothing = zero ? others.splice(0, 1) : [];
      const whose = this.app.model.runs.some((run) => run.folded) ? REPEATED[metric.repeated ?? "each"] : "";
      return [{ text: `${metric.label}${whose}, logarithmic` }, ...nothing, ...ends, ...others];
    }
    const shown = new Set([...scene.boxes.keys()].map((item) => item.look));
    const entries = Object.entries(this.styles).filter(([look]) => shown.has(look));
    const gradient = drawing.backwardFlows.size && byId("canvas").classList.contains("backward");
    return [
      ...entries.map(([look, text]) => ({ fill: this.lineOf(`${look}-fill`), line: this.lineOf(`${look}-line`), text })),
      ...([...scene.boxes.keys(), ...scene.frames.keys()].some((item) => item.run)
        ? [{ text: "× n: n alike, drawn once" }] : []),
      ...(scene.links.size ? [{ fill: this.lineOf("link-line"), text: this.styles.link }] : []),
      ...(gradient ? [{ fill: this.lineOf("gradient-line"), text: this.styles.gradient }] : []),
    ];
  }

  showLegend() {
    byId("legend").replaceChildren(...this.legend().map(({ fill, line, text }) => {
      const entry = html("span", { class: text ? "entry" : "step" });
      if (fill) {
        const swatch = html("i", { class: "swatch" });
        swatch.style.background = fill;
        if (line) swatch.style.borderColor = line;
        entry.append(swatch);
      }
      if (text) entry.append(text);
      return entry;
    }));
  }
}
