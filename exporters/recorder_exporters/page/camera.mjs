// Where the reader looks: moving and zooming by mouse, wheel, touch, and on the way from one place to another.

const LEAST = 0.02;
const MOST = 4;
/** As in the style sheet: the widest narrow window, and how high what stands in its lower corners is. */
const NARROW = 640;
const CORNERS = 72;
/** How high a legend of one line is, below the margin. */
const LEGEND = 24;
/** Around what is fitted into the window. */
const MARGIN = 28;
/** Smaller than this, text cannot be read. */
export const READABLE = 0.5;

export class Camera {
  /** `changed` is called after every move; `cover` gives the panel that may cover a part. */
  constructor(canvas, world, changed, cover) {
    Object.assign(this, { canvas, world, changed, cover, x: 0, y: 0, k: 1, wasDrag: false });
    this.pointers = new Map();
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
  }

  get size() {
    const { width, height } = this.canvas.getBoundingClientRect();
    return { w: width, h: height };
  }

  /** The part of the canvas that no panel covers, and no legend. */
  get free() {
    const { w, h } = this.size;
    const { offsetWidth: width, offsetHeight: height } = this.cover();
    // In a narrow window the panel stands below, or else the legend and the map leave no room beside them.
    if (width > 0.8 * w || w <= NARROW) return { w, h: Math.max(h / 4, h - (height || CORNERS)) };
    return { w: Math.max(w / 4, w - width), h: Math.max(h / 4, h - LEGEND) };
  }

  set({ x, y, k }) {
    Object.assign(this, { x, y, k: Math.min(MOST, Math.max(LEAST, k)) });
    this.world.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.k})`);
    this.canvas.classList.toggle("distant", this.k < 0.22);
    this.changed();
  }

  get view() {
    return { x: this.x, y: this.y, k: this.k };
  }

  /** The part of the plane that shows. */
  get window() {
    const { w, h } = this.size;
    return { x: -this.x / this.k, y: -this.y / this.k, w: w / this.k, h: h / this.k };
  }

  zoom(factor, at = null) {
    const { w, h } = this.size;
    const { x, y } = at ?? { x: w / 2, y: h / 2 };
    const k = Math.min(MOST, Math.max(LEAST, this.k * factor));
    this.set({ k, x: x - (x - this.x) * (k / this.k), y: y - (y - this.y) * (k / this.k) });
  }

  /** How near a rectangle can be with all of it in view. */
  scaleOf({ w, h }) {
    const { w: width, h: height } = this.free;
    return Math.min((width - 2 * MARGIN) / w, (height - 2 * MARGIN) / h, 1.15);
  }

  /** The view that shows a rectangle: all of it, or, if it would be too small to read, its upper or left part. */
  viewOf({ x, y, w, h }, whole = false) {
    const { w: width, h: height } = this.free;
    const all = this.scaleOf({ w, h });
    if (whole || all >= READABLE) {
      return { k: all, x: (width - w * all) / 2 - x * all, y: (height - h * all) / 2 - y * all };
    }
    const k = Math.min(1, Math.max(READABLE, (width - 2 * MARGIN) / w, (height - 2 * MARGIN) / h));
    const start = (room, from, length) => (length * k > room - MARGIN ? MARGIN : (room - length * k) / 2) - from * k;
    return { k, x: start(width, x, w), y: start(height, y, h) };
  }

  /** The view with a rectangle's middle in the middle, as near as now, or nearer if text could not be read. */
  viewAt({ x, y, w, h }) {
    const { w: width, h: height } = this.free;
    const k = Math.max(this.k, 0.8);
    return { k, x: width / 2 - (x + w / 2) * k, y: height / 2 - (y + Math.min(h / 2, 120 / k)) * k };
  }

  /** Move so far that the middle of a rectangle is under no panel. */
  uncover({ x, y, w, h }) {
    const { w: width, h: height } = this.free;
    const [across, down] = [this.x + (x + w / 2) * this.k, this.y + (y + Math.min(h / 2, 120 / this.k)) * this.k];
    const move = { x: across > width ? width / 2 - across : 0, y: down > height ? height / 2 - down : 0 };
    if (move.x || move.y) this.set({ k: this.k, x: this.x + move.x, y: this.y + move.y });
  }

  /** A function that goes to a view step by step, as `Drawing.show` wants it. */
  towards(view) {
    const from = this.view;
    const mix = (a, b, part) => a + (b - a) * part;
    return (part) => this.set({ x: mix(from.x, view.x, part), y: mix(from.y, view.y, part),
      k: mix(from.k, view.k, part) });
  }

  wheel(event) {
    event.preventDefault();
    const box = this.canvas.getBoundingClientRect();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? box.height : 1;
    if (event.shiftKey) {
      this.set({ ...this.view, x: this.x - (event.deltaX + event.deltaY) * unit });
      return;
    }
    const factor = Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0016));
    this.zoom(factor, { x: event.clientX - box.left, y: event.clientY - box.top });
  }

  down(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.wasDrag = false;
  }

  drag(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const now = { x: event.clientX, y: event.clientY };
    if (!this.wasDrag && Math.hypot(now.x - last.x, now.y - last.y) < 4) return;
    if (!this.wasDrag) this.canvas.setPointerCapture(event.pointerId);
    this.wasDrag = true;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const box = this.canvas.getBoundingClientRect();
      const spread = (point) => Math.hypot(point.x - other.x, point.y - other.y);
      const at = { x: (now.x + other.x) / 2 - box.left, y: (now.y + other.y) / 2 - box.top };
      this.zoom(spread(now) / Math.max(1, spread(last)), at);
    } else this.set({ ...this.view, x: this.x + now.x - last.x, y: this.y + now.y - last.y });
    this.pointers.set(event.pointerId, now);
  }
}
