// Draws one photo with its mask and hints on a canvas, zoomed and moved.

import { drawCrosshair, drawHint } from './hint_marks.js';

const MARGIN = 8; // around a fitted photo, in CSS pixels as all lengths on the screen here
const LARGEST = 32; // CSS pixels that a pixel of the photo may cover
const SHARP = 3; // from this zoom on, pixels are shown as squares

const between = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * `scale` is CSS pixels per pixel of the original, (`left`, `top`) the place of its corner on the
 * canvas. Places in the image are pixels of the upright original.
 */
export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.photo = null;
    this.layers = null; // of the mask: fill and edges
    this.hints = []; // [hint, color]
    this.draft = null; // [hint, color] that is being drawn
    this.crosshair = null; // {x, y} in the image
    this.opacity = 0.4;
    this.showsFill = true;
    this.showsEdges = true;
    this.fitted = true;
    this.onZoom = () => {};
    this.frame = 0;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  /** Show another photo of an image of this size, fitted. */
  show(photo, width, height) {
    const another = this.photo === null || this.width !== width || this.height !== height;
    Object.assign(this, { photo, width, height });
    if (another || this.fitted) this.fit();
    this.redraw();
  }

  clear() {
    this.photo = null;
    this.setLayers(null);
    this.hints = [];
    this.draft = null;
    this.crosshair = null;
    this.fitted = true;
    this.redraw();
  }

  /** Swap the mask for another. */
  setLayers(layers) {
    for (const layer of this.layers ?? []) layer.close();
    this.layers = layers;
    this.redraw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    if (this.fitted) this.fit();
    this.draw();
  }

  /** The scale at which an image of this size fits. */
  fitScale(width = this.width, height = this.height) {
    const { clientWidth, clientHeight } = this.canvas;
    const across = (clientWidth - 2 * MARGIN) / width;
    const down = (clientHeight - 2 * MARGIN) / height;
    return Math.min(across, down);
  }

  fit() {
    if (!this.photo) return;
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = this.fitScale();
    this.left = (clientWidth - this.width * this.scale) / 2;
    this.top = (clientHeight - this.height * this.scale) / 2;
    this.fitted = true;
    this.onZoom();
    this.redraw();
  }

  /** Zoom by a factor; the place (x, y) of the canvas keeps what it shows. */
  zoomAt(x, y, factor) {
    if (!this.photo) return;
    const least = this.fitScale();
    const most = Math.max(LARGEST * (this.photo.naturalWidth / this.width), least);
    const scale = between(this.scale * factor, least, most);
    const real = scale / this.scale;
    this.left = x - (x - this.left) * real;
    this.top = y - (y - this.top) * real;
    this.scale = scale;
    this.fitted = scale === least;
    if (this.fitted) this.fit();
    this.pan(0, 0);
    this.onZoom();
  }

  /** Move the photo on the screen; its middle stays covered, or it stays in the middle. */
  pan(x, y) {
    if (!this.photo || this.fitted) return;
    const { clientWidth, clientHeight } = this.canvas;
    const [width, height] = [this.width * this.scale, this.height * this.scale];
    this.left = between(this.left + x, clientWidth / 2 - width, clientWidth / 2);
    this.top = between(this.top + y, clientHeight / 2 - height, clientHeight / 2);
    this.redraw();
  }

  toImage(x, y) {
    return { x: (x - this.left) / this.scale, y: (y - this.top) / this.scale };
  }

  toScreen(x, y) {
    return { x: x * this.scale + this.left, y: y * this.scale + this.top };
  }

  /** The nearest place in the image, to a tenth of a pixel. */
  clamp({ x, y }) {
    const tenth = (value) => Math.round(10 * value) / 10;
    return { x: tenth(between(x, 0, this.width)), y: tenth(between(y, 0, this.height)) };
  }

  contains({ x, y }) {
    return x >= 0 && y >= 0 && x <= this.width && y <= this.height;
  }

  /** Move the crosshair by this much on the screen; it appears in the middle of the canvas. */
  moveCrosshair(x, y) {
    if (!this.photo) return;
    const { clientWidth, clientHeight } = this.canvas;
    const from = this.crosshair ?? this.toImage(clientWidth / 2, clientHeight / 2);
    const step = this.crosshair ? { x: x / this.scale, y: y / this.scale } : { x: 0, y: 0 };
    this.crosshair = this.clamp({ x: from.x + step.x, y: from.y + step.y });
    const place = this.toScreen(this.crosshair.x, this.crosshair.y);
    const inside = {
      x: between(place.x, MARGIN, clientWidth - MARGIN),
      y: between(place.y, MARGIN, clientHeight - MARGIN),
    };
    this.pan(inside.x - place.x, inside.y - place.y);
    this.redraw();
  }

  /** Draw before the next frame. */
  redraw() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.photo) return;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    const zoom = (this.scale * devicePixelRatio * this.width) / this.photo.naturalWidth;
    context.imageSmoothingEnabled = zoom < SHARP;
    const place = [this.left, this.top, this.width * this.scale, this.height * this.scale];
    context.drawImage(this.photo, ...place);
    if (this.layers) this.drawMask(place);
    for (const [hint, color] of this.hints) drawHint(context, this, hint, color);
    if (this.draft) drawHint(context, this, ...this.draft);
    if (this.crosshair) drawCrosshair(context, this.toScreen(this.crosshair.x, this.crosshair.y));
  }

  drawMask(place) {
    const [fill, edges] = this.layers;
    this.context.globalAlpha = this.opacity;
    if (this.showsFill) this.context.drawImage(fill, ...place);
    this.context.globalAlpha = 1;
    if (this.showsEdges) this.context.drawImage(edges, ...place);
  }
}
