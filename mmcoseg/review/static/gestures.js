// What mouse, pen and fingers do on the stage: mark, zoom, move.

const STILL = 4; // CSS pixels that a click may move; a second tap may be twice as far
const DOUBLE = 500; // milliseconds between two taps that are a double tap
const SPACING = 3; // CSS pixels between points of a stroke

const middle = ([a, b]) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/**
 * Calls `act.draft(shape, background)` while a mark is drawn (shape null: no more), `act.mark(shape,
 * background)` when it is done, and `act.double()`. A shape is {click}, {stroke} or {box}, as in
 * hints, or null beside the photo; `background` says that it marks what is not the object.
 */
export class Gestures {
  constructor(stage, act) {
    this.stage = stage;
    this.act = act;
    this.fingers = new Map(); // id of a pointer -> its place on the canvas
    this.mode = null; // 'mark', 'pan', 'pinch'
    this.touchMarks = false; // whether fingers mark, or move the photo
    this.touchBackground = false;
    this.spaceHeld = false;
    this.spaceUsed = false;
    this.isSecond = false; // of a double click
    this.tapped = { x: 0, y: 0, time: -DOUBLE };
    const { canvas } = stage;
    canvas.addEventListener('pointerdown', (event) => this.down(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    canvas.addEventListener('pointerup', (event) => this.up(event));
    canvas.addEventListener('pointercancel', (event) => this.cancel(event));
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('mousedown', (event) => {
      this.isSecond = event.detail === 2;
      if (event.button === 1) event.preventDefault(); // or the browser scrolls
    });
    canvas.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
  }

  place(event) {
    const box = this.stage.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    if (!this.stage.photo) return;
    const touch = event.pointerType === 'touch';
    const place = this.place(event);
    this.stage.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, place);
    const pans = event.button === 1 || this.spaceHeld || (touch && !this.touchMarks);
    this.spaceUsed = this.spaceHeld;
    if (this.fingers.size > 1) {
      this.mode = 'pinch';
      this.act.draft(null);
    } else {
      this.mode = pans ? 'pan' : 'mark';
      this.start = place;
      this.moved = false;
      this.points = [place];
      this.isBox = event.shiftKey;
      // With Ctrl, it is a right click on a Mac.
      const second = event.button === 2 || event.altKey || event.ctrlKey;
      this.background = second || (touch && this.touchBackground);
    }
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const place = this.place(event);
    this.moved ||= distance(place, this.start) > STILL;
    const moves = {
      pan: () => this.stage.pan(place.x - before.x, place.y - before.y),
      pinch: () => this.pinch(event.pointerId, place),
      mark: () => this.extend(place),
    };
    moves[this.mode]?.();
    this.fingers.set(event.pointerId, place);
  }

  pinch(id, place) {
    const pair = [...this.fingers.values()].slice(0, 2);
    const now = [...this.fingers].slice(0, 2).map(([other, at]) => (other === id ? place : at));
    const [from, to] = [middle(pair), middle(now)];
    this.stage.zoomAt(from.x, from.y, distance(...now) / Math.max(1, distance(...pair)));
    this.stage.pan(to.x - from.x, to.y - from.y);
  }

  extend(place) {
    if (distance(place, this.points.at(-1)) >= SPACING) this.points.push(place);
    if (this.moved) this.act.draft(this.shape(), this.background);
  }

  up(event) {
    const first = this.fingers.size === 1;
    if (first && this.mode === 'mark') this.finish(event);
    else if (first && this.mode === 'pan' && event.button === 0 && !this.moved)
      this.isDouble(event);
    this.forget(event);
  }

  finish(event) {
    this.act.draft(null);
    const shape = this.shape();
    if (!this.moved && this.isDouble(event)) return;
    this.act.mark(shape, this.background);
  }

  /** Whether this click ends a double click; calls `act.double` then. */
  isDouble(event) {
    const double = event.pointerType === 'mouse' ? this.isSecond : this.isSecondTap(event);
    if (double) this.act.double();
    return double;
  }

  /** Taps are not counted by browsers. */
  isSecondTap(event) {
    const { timeStamp } = event;
    const place = this.place(event);
    const soon = timeStamp - this.tapped.time < DOUBLE;
    const second = soon && distance(place, this.tapped) < 2 * STILL;
    this.tapped = { ...place, time: second ? -DOUBLE : timeStamp };
    return second;
  }

  cancel(event) {
    this.act.draft(null);
    this.forget(event);
  }

  /** After a pinch, the finger that stays does nothing more. */
  forget(event) {
    this.fingers.delete(event.pointerId);
    this.mode = null;
  }

  /** What was drawn, as a hint has it; null if nothing of it is in the image. */
  shape() {
    const { stage } = this;
    const points = this.points.map(({ x, y }) => stage.toImage(x, y));
    if (this.moved && this.isBox)
      return boxBetween(stage.clamp(points[0]), stage.clamp(points.at(-1)));
    const inside = points
      .filter((point) => stage.contains(point))
      .map((point) => stage.clamp(point));
    const pairs = inside.map(({ x, y }) => [x, y]);
    if (!pairs.length) return null;
    return this.moved ? { stroke: pairs } : { click: pairs[0] };
  }

  wheel(event) {
    event.preventDefault();
    const { x, y } = this.place(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0015; // with Ctrl, it is a pinch on a touchpad
    this.stage.zoomAt(x, y, Math.exp(-event.deltaY * lines * speed));
  }
}

/** A box between two corners; null if it is thinner than a pixel. */
export function boxBetween(a, b) {
  const [left, right] = [Math.min(a.x, b.x), Math.max(a.x, b.x)];
  const [top, bottom] = [Math.min(a.y, b.y), Math.max(a.y, b.y)];
  return right - left < 1 || bottom - top < 1 ? null : { box: [left, top, right, bottom] };
}
