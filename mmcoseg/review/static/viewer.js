// One image large: its mask, what was said of it, and what to decide.

import * as api from './api.js';
import { colorOf } from './colors.js';
import { at, counted, element, icon, settled } from './dom.js';
import { boxBetween, Gestures } from './gestures.js';
import { MaskPainter } from './masks.js';
import { Photos } from './photos.js';
import { Stage } from './stage.js';
import { STATES } from './store.js';

const LINE = 2.4; // width of outlines, in CSS pixels
const PATIENCE = 150; // milliseconds until the thumbnail is shown instead of the last photo
const LONGEST = 2048; // pixels of a photo's longer side, at most
const BACKGROUND = '#ffffff'; // color of hints on what is not the object

export class Viewer {
  constructor(store) {
    this.store = store;
    this.number = null; // of the image that is shown
    this.visit = null;
    this.hints = []; // as the server knows them
    this.sent = []; // on their way to the server
    this.chosen = 0; // class that is marked
    this.corner = null; // of a box drawn by keys
    this.trail = null; // points of a stroke drawn by keys
    this.thick = 1;
    this.painter = new MaskPainter();
    this.photos = new Photos();
    this.stage = new Stage(at('stage'));
    this.stage.onZoom = settled(() => this.matchOutline(), 120);
    this.gestures = new Gestures(this.stage, {
      draft: (shape, background) => this.draft(shape, background),
      mark: (shape, background) => this.mark(shape, background),
      double: () => this.double(),
    });
    store.on('images', (numbers) => this.update(numbers));
    store.on('group', () => this.showPalette());
    this.listen();
  }

  listen() {
    at('show-mask').addEventListener('click', () => this.toggleMask());
    at('outline').addEventListener('click', () => this.toggleOutline());
    at('fit').addEventListener('click', () => this.stage.fit());
    at('opacity').addEventListener('input', () => {
      this.stage.opacity = Number(at('opacity').value);
      this.stage.redraw();
    });
    at('edit').addEventListener('click', () => this.setTouchMarks(!this.gestures.touchMarks));
    at('sign-object').addEventListener('click', () => this.setSign(false));
    at('sign-background').addEventListener('click', () => this.setSign(true));
  }

  get image() {
    return this.store.images[this.number];
  }

  /** Show an image; the one before stays for a moment, so that nothing flickers. */
  async show(number) {
    const { group } = this.store;
    const visit = { number };
    this.store.see(this.number);
    Object.assign(this, { number, visit, hints: [], sent: [], corner: null, trail: null });
    at('viewer').hidden = false;
    at('stage-note').hidden = true;
    this.setReady(false);
    this.showFacts();
    const slow = setTimeout(() => this.showThumb(visit), PATIENCE);
    const { width, height } = this.image;
    const turn = (this.turn = {});
    const rest = Promise.all([this.paint(), api.getImage(group, number)]);
    // The mask is seen together with the photo if it takes no longer.
    const soon = Promise.race([rest, pause(PATIENCE)]).catch(() => {});
    const photo = await this.photos.get(api.photoUrl(group, this.image)).catch(() => null);
    await soon;
    clearTimeout(slow);
    if (this.visit !== visit) return;
    this.stage.clear();
    at('stage-note').hidden = true;
    if (photo) this.stage.show(photo, width, height);
    else this.sayBroken();
    this.setReady(photo !== null);
    this.takeRest(rest, visit, turn);
    this.fetchAhead();
  }

  /** Hints are taken once the photo is there. */
  setReady(ready) {
    this.ready = ready;
    at('stage').setAttribute('aria-busy', String(!ready));
  }

  /** Show the mask and the hints when they are there. */
  async takeRest(rest, visit, turn) {
    try {
      const [layers, detail] = await rest;
      if (this.visit !== visit) return;
      if (this.turn === turn) this.stage.setLayers(layers);
      this.takeDetail(detail);
    } catch {
      if (this.visit !== visit) return;
      this.store.report(new Error('The mask could not be loaded. Reload the page to try again.'), [
        this.image,
      ]);
    }
  }

  async showThumb(visit) {
    if (this.visit !== visit) return;
    this.stage.clear();
    at('stage-note').textContent = 'Loading the photo …';
    at('stage-note').hidden = false;
    const thumb = await this.photos
      .get(api.thumbUrl(this.store.group, this.image))
      .catch(() => null);
    if (this.visit === visit && thumb && !this.ready)
      this.stage.show(thumb, this.image.width, this.image.height);
  }

  sayBroken() {
    const again = element('button', { type: 'button', textContent: 'Try again' });
    again.addEventListener('click', () => this.show(this.number));
    at('stage-note').replaceChildren(
      'This photo cannot be shown. Look whether its file is still there. ',
      again,
    );
    at('stage-note').hidden = false;
  }

  hide() {
    at('viewer').hidden = true;
    this.store.see(this.number);
    this.number = null;
    this.visit = null;
    this.stage.clear();
  }

  /** Load the photos that are likely asked for next. */
  fetchAhead() {
    const { store } = this;
    for (const number of new Set([store.mostTelling(this.number), store.after(this.number)[0]])) {
      if (number !== undefined)
        this.photos.get(api.photoUrl(store.group, store.images[number])).catch(() => {});
    }
  }

  /** Pixels of the photo that make an outline as wide as it should be. */
  get wantedThickness() {
    const { width, height } = this.image;
    const longest = Math.max(width, height);
    const photo = Math.min(LONGEST, longest);
    const scale = this.ready ? this.stage.scale : this.stage.fitScale(width, height);
    return Math.min(8, Math.max(1, Math.round((LINE * photo) / (scale * longest))));
  }

  /** The layers of the newest mask. */
  paint() {
    this.thick = this.wantedThickness;
    return this.painter.paint(api.maskUrl(this.store.group, this.image), this.thick, 1);
  }

  /** Load the mask anew, and swap it when it is there. */
  async repaint() {
    const { visit } = this;
    const turn = (this.turn = {});
    const layers = await this.paint().catch(() => null);
    if (!layers) return;
    if (this.visit === visit && this.turn === turn) this.stage.setLayers(layers);
    else for (const layer of layers) layer.close();
  }

  matchOutline() {
    if (this.number !== null && this.ready && this.wantedThickness !== this.thick) this.repaint();
  }

  /** Something of these images has changed. */
  update(numbers) {
    if (this.number === null || !numbers.includes(this.number)) return;
    const known = this.shown;
    this.showFacts();
    if (this.image.version === known.version && this.image.hints === known.hints) return;
    if (this.ready) this.repaint();
    this.loadHints();
  }

  async loadHints() {
    const { visit, store } = this;
    const detail = await api.getImage(store.group, this.number).catch(() => null);
    if (this.visit === visit) this.takeDetail(detail);
  }

  takeDetail(detail) {
    this.hints = detail?.hints ?? this.hints;
    this.showHints();
  }

  // What is seen beside the image.

  showFacts() {
    const { store, image } = this;
    this.shown = { version: image.version, hints: image.hints };
    const state = store.stateOf(image);
    const place = `${store.sorted.indexOf(image.number) + 1} of ${store.sorted.length}`;
    at('image-name').textContent = image.file_name;
    at('image-state').replaceChildren(
      icon(state.replace(' ', '-')),
      STATES[state],
      element('span', { class: 'place' }, place),
    );
    at('image-state').dataset.state = state;
    const share = (value) => (value === null ? 'unknown' : value.toFixed(2));
    const facts = [
      ['Sure', state === 'unseen' ? share(image.sureness) : '–'],
      ['Presence', share(image.presence)],
      ['Size', `${image.width} × ${image.height}`],
    ];
    at('image-facts').replaceChildren(
      ...facts.map(([name, value]) =>
        element('div', {}, element('dt', {}, name), element('dd', {}, value)),
      ),
    );
    const notes = [];
    if (image.changed) notes.push('Changed by hints on other images.');
    if (store.asked.has(image.number)) notes.push('Would change by hints on other images.');
    if (image.empty) notes.push('No object was found here.');
    if (image.coarse) notes.push('Edges are being drawn …');
    at('image-notes').replaceChildren(...notes.map((note) => element('li', {}, note)));
    at('stage').setAttribute(
      'aria-label',
      `${image.file_name}, ${STATES[state]}. Arrow keys move a crosshair, Enter marks the object, Backspace what is not the object.`,
    );
    at('accept').setAttribute('aria-pressed', state === 'accepted' || state === 'corrected');
    at('reject').setAttribute('aria-pressed', state === 'rejected');
    at('leave-out').setAttribute('aria-pressed', state === 'left out');
  }

  showHints() {
    const all = [...this.hints, ...this.sent];
    this.stage.hints = all.map((hint) => [hint, this.colorOfHint(hint)]);
    this.stage.redraw();
    at('said-title').textContent = all.length ? counted(all.length, 'hint') : 'No hints yet';
    at('said-list').replaceChildren(...all.map((hint) => element('li', {}, textOf(hint))));
  }

  colorOfHint(hint) {
    if (hint.object === false) return BACKGROUND;
    return colorOf(Math.max(0, this.store.about.classes.indexOf(hint.object)));
  }

  showPalette() {
    const { classes } = this.store.about;
    this.chosen = 0;
    at('palette').hidden = classes.length < 2;
    const buttons = classes.map((name, i) => {
      const swatch = element('span', { class: 'swatch', 'aria-hidden': 'true' });
      swatch.style.backgroundColor = colorOf(i);
      const key = i < 9 ? [element('kbd', {}, String(i + 1))] : [];
      const button = element('button', { type: 'button' }, swatch, name, ...key);
      button.addEventListener('click', () => this.choose(i));
      return button;
    });
    at('palette').replaceChildren(...buttons);
    this.choose(0);
  }

  /** Mark class `number`, from 0 on, from now on. */
  choose(number) {
    const buttons = [...at('palette').children];
    if (number >= buttons.length) return;
    this.chosen = number;
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', i === number));
  }

  // Marks.

  /** A shape as the hint that it will be. */
  hintOf(shape, background) {
    const { classes } = this.store.about;
    const object = classes.length > 1 ? classes[this.chosen] : true;
    return { ...shape, object: background ? false : object };
  }

  draft(shape, background) {
    const hint = shape && this.hintOf(shape, background);
    this.stage.draft = hint && [hint, this.colorOfHint(hint)];
    this.stage.redraw();
  }

  /** Give a hint; null is a click beside the photo. It is seen at once, and taken back if the server refuses it. */
  async mark(shape, background) {
    this.marked = null;
    if (!shape || !this.ready) return;
    const { visit } = this;
    const hint = this.hintOf(shape, background);
    const state = this.store.stateOf(this.image);
    if (state !== 'unseen')
      this.store.tell('message', { text: `This photo was ${STATES[state]}. Now it is unseen again.` });
    this.sent.push(hint);
    this.showHints();
    this.marked = this.store.hint(this.image, hint);
    const taken = await this.marked;
    if (this.visit !== visit) return;
    if (taken) await this.loadHints();
    this.sent = this.sent.filter((other) => other !== hint);
    this.showHints();
  }

  /** Fit. The first of the two clicks was meant for this, too, and is taken back. */
  async double() {
    this.stage.fit();
    const { marked } = this;
    this.marked = null;
    if (this.gestures.mode === 'mark' && (await marked)) this.store.step('undo');
  }

  markCrosshair(background) {
    const points = this.trail ?? [this.stage.crosshair];
    this.trail = null;
    this.draft(null);
    if (points.length > 1) this.mark(strokeOf(points), background);
    else if (points[0]) this.mark({ click: [points[0].x, points[0].y] }, background);
    else this.stage.moveCrosshair(0, 0);
  }

  moveCrosshair(x, y) {
    this.stage.moveCrosshair(x, y);
    if (this.trail) {
      this.trail.push(this.stage.crosshair);
      this.draft(strokeOf(this.trail), false);
    } else if (this.corner) this.draft(boxBetween(this.corner, this.stage.crosshair), false);
  }

  /** Begin a stroke at the crosshair, which `markCrosshair` ends. */
  markStart() {
    if (!this.stage.crosshair) this.stage.moveCrosshair(0, 0);
    this.leaveMark();
    this.trail = [this.stage.crosshair].filter(Boolean);
  }

  /** Begin a box at the crosshair, or end it there. */
  markCorner() {
    const { crosshair } = this.stage;
    this.trail = null;
    const box = this.corner && boxBetween(this.corner, crosshair);
    if (!crosshair) this.stage.moveCrosshair(0, 0);
    this.corner = this.corner ? null : this.stage.crosshair;
    this.draft(null);
    if (box) this.mark(box, false);
  }

  /** Leave a box or a stroke that was begun; whether there was one. */
  leaveMark() {
    const begun = this.corner !== null || this.trail !== null;
    this.corner = null;
    this.trail = null;
    this.draft(null);
    return begun;
  }

  /** Zoom at the crosshair, or in the middle. */
  zoom(factor) {
    const { crosshair, canvas } = this.stage;
    const center = { x: canvas.clientWidth / 2, y: canvas.clientHeight / 2 };
    const { x, y } = crosshair ? this.stage.toScreen(crosshair.x, crosshair.y) : center;
    this.stage.zoomAt(x, y, factor);
  }

  // How the mask looks, and what fingers do.

  toggleMask() {
    this.setLooks(!this.stage.showsEdges, pressed('outline'));
  }

  toggleOutline() {
    this.setLooks(true, !pressed('outline'));
  }

  setLooks(shown, outlineOnly) {
    this.stage.showsEdges = shown;
    this.stage.showsFill = shown && !outlineOnly;
    at('show-mask').setAttribute('aria-pressed', shown);
    at('outline').setAttribute('aria-pressed', outlineOnly);
    this.stage.redraw();
  }

  setTouchMarks(marks) {
    this.gestures.touchMarks = marks;
    at('edit').setAttribute('aria-pressed', marks);
    at('signs').hidden = !marks;
  }

  setSign(background) {
    this.gestures.touchBackground = background;
    at('sign-object').setAttribute('aria-pressed', !background);
    at('sign-background').setAttribute('aria-pressed', background);
  }
}

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
const strokeOf = (points) => ({ stroke: points.map(({ x, y }) => [x, y]) });
const pressed = (id) => at(id).getAttribute('aria-pressed') === 'true';

/** A hint in words. */
function textOf(hint) {
  if (hint.absent) return 'the object is not here';
  if (hint.example) return 'the whole mask was given';
  const what = { true: 'object', false: 'not object' }[hint.object ?? true] ?? hint.object;
  const whole = (numbers) => numbers.map(Math.round).join(', ');
  if (hint.click) return `${what}: click at ${whole(hint.click)}`;
  if (hint.box) return `${what}: box ${whole(hint.box)}`;
  return `${what}: brush from ${whole(hint.stroke[0])}`;
}
