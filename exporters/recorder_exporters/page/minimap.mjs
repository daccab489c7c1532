// The whole drawing in a corner, with the part that shows; a click or a drag goes there.

import { byId } from "./dom.mjs";

export class Minimap {
  constructor(camera, fillOf) {
    this.canvas = byId("minimap");
    this.camera = camera;
    this.fillOf = fillOf;
    this.picture = document.createElement("canvas");
    const go = (event) => {
      if (!event.buttons) return;
      const box = this.canvas.getBoundingClientRect();
      const x = (event.clientX - box.left) / this.scale - this.shift.x;
      const y = (event.clientY - box.top) / this.scale - this.shift.y;
      const { w, h } = camera.size;
      camera.set({ k: camera.k, x: w / 2 - x * camera.k, y: h / 2 - y * camera.k });
    };
    this.canvas.addEventListener("pointerdown", go);
    this.canvas.addEventListener("pointermove", go);
  }

  /** Draw a scene anew. */
  paint(scene) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !scene) return;
    const density = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.picture]) {
      canvas.width = width * density;
      canvas.height = height * density;
    }
    this.scale = Math.min(width / scene.w, height / scene.h);
    this.shift = { x: (width / this.scale - scene.w) / 2, y: (height / this.scale - scene.h) / 2 };
    const context = this.picture.getContext("2d");
    context.scale(density * this.scale, density * this.scale);
    context.translate(this.shift.x, this.shift.y);
    const least = 1 / this.scale;
    for (const rects of [scene.frames, scene.boxes]) {
      for (const [item, { x, y, w, h }] of rects) {
        const { fill, line } = this.fillOf(item, rects === scene.frames);
        context.fillStyle = fill;
        context.fillRect(x, y, Math.max(w, least), Math.max(h, least));
        if (h * this.scale > 3) {
          context.strokeStyle = line;
          context.lineWidth = 0.5 / this.scale;
          context.strokeRect(x, y, w, h);
        }
      }
    }
    this.look();
  }

  /** Show where the camera looks. */
  look() {
    if (!this.scale) return;
    const density = window.devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.picture, 0, 0);
    const { x, y, w, h } = this.camera.window;
    context.scale(density, density);
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = 1.5;
    context.strokeRect((x + this.shift.x) * this.scale, (y + this.shift.y) * this.scale, w * this.scale, h * this.scale);
  }
}
