// What was in memory, moment after moment, by kind: a chart below the graph, where the recording has it.

import { byId, html, svg } from "./dom.mjs";
import { figures, legible } from "./text.mjs";

const HEIGHT = 100;
/** At most so many moments are drawn; of those that share a place, the highest. */
const COLUMNS = 1200;

export class Timeline {
  /** `told` is what a document says of memory, or nothing; `kinds` are the words for the numbers of a moment, in order. */
  constructor(told, kinds, itemOf, reveal) {
    Object.assign(this, { kinds, itemOf, reveal, moments: momentsOf(told) });
    this.peak = this.moments.reduce((best, moment) => (moment.total > (best?.total ?? 0) ? moment : best), null);
  }

  get empty() {
    return !this.peak;
  }

  toggle() {
    const root = byId("memory");
    if (this.empty) return;
    root.hidden = !root.hidden;
    if (!root.hidden && !root.children.length) this.draw(root);
  }

  draw(root) {
    const { moments, kinds, peak } = this;
    const areas = kinds.map((kind, i) => svg("path", { class: `kind-${i}`, d: this.area(i) }));
    const at = moments.indexOf(peak) + 0.5;
    const mark = svg("line", { class: "peak", x1: at, x2: at, y1: 0, y2: HEIGHT });
    const here = svg("line", { class: "here", x1: -1, x2: -1, y1: 0, y2: HEIGHT });
    const chart = svg("svg", { viewBox: `0 0 ${moments.length} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
      "aria-label": `Memory: peak ${this.words(peak)}` }, ...areas, mark, here);
    const said = html("p", { role: "status" }, `peak ${this.words(peak)}`);
    const under = (event) => {
      const { left, width } = chart.getBoundingClientRect();
      return Math.max(0, Math.min(moments.length - 1, Math.floor(((event.clientX - left) / width) * moments.length)));
    };
    chart.addEventListener("pointermove", (event) => {
      const i = under(event);
      for (const end of ["x1", "x2"]) here.setAttribute(end, i + 0.5);
      said.textContent = this.words(moments[i]);
      chart.classList.toggle("leads", Boolean(this.itemOf(moments[i].place)));
    });
    chart.addEventListener("pointerleave", () => {
      for (const end of ["x1", "x2"]) here.setAttribute(end, -1);
      said.textContent = `peak ${this.words(peak)}`;
    });
    chart.addEventListener("click", (event) => {
      const item = this.itemOf(moments[under(event)].place);
      if (item) this.reveal(item);
    });
    const shown = kinds.map((kind, i) => [kind, i]).filter(([, i]) => moments.some(({ sizes }) => sizes[i]));
    const key = shown.map(([kind, i]) => html("span", { class: "entry" },
      html("span", { class: `swatch kind-${i}` }), kind));
    root.append(html("div", { class: "key" }, ...key), said, chart);
  }

  /** What a kind adds to those before it, as steps. */
  area(kind) {
    const y = (size) => (HEIGHT * (1 - size / this.peak.total)).toFixed(2);
    const upTo = ({ sizes }, count) => sizes.slice(0, count).reduce((sum, size) => sum + size, 0);
    const top = this.moments.map((moment, i) => `L${i} ${y(upTo(moment, kind + 1))}H${i + 1}`);
    const bottom = this.moments.map((moment, i) => `L${i + 1} ${y(upTo(moment, kind))}H${i}`).reverse();
    return `M0 ${HEIGHT}${top.join("")}${bottom.join("")}Z`;
  }

  words({ phase, place, sizes, total }) {
    const where = phase === "optimizer" ? "the optimizer's step" : place ? `${phase} of ${legible(place, 80)}` : phase;
    const parts = this.kinds.map((kind, i) => sizes[i] && `${kind} ${figures(sizes[i], "bytes")}`).filter(Boolean);
    return `${figures(total, "bytes")} in ${where}: ${parts.join(", ")}`;
  }
}

function momentsOf(told) {
  const rows = told?.timeline ?? [];
  const width = Math.ceil(rows.length / COLUMNS) || 1;
  const all = rows.map(([, place, phase, ...sizes]) => ({ place, phase, sizes,
    total: sizes.reduce((sum, size) => sum + size, 0) }));
  if (width === 1) return all;
  return Array.from({ length: Math.ceil(all.length / width) }, (_, i) =>
    all.slice(i * width, (i + 1) * width).reduce((best, one) => (one.total > best.total ? one : best)));
}
