// All images of a group, small, each with its mask and its state.

import * as api from './api.js';
import { at, counted, element, icon, settled } from './dom.js';
import { colorOf } from './colors.js';
import { MaskPainter } from './masks.js';
import { STATES } from './store.js';

const TINT = 0.4; // opacity of masks
const LINE = 2; // width of outlines, in pixels of a thumbnail
const NEAR = '600px'; // around the window: pictures there are loaded

export class Grid {
  /** `address(number)` is the link to an image. */
  constructor(store, address) {
    this.store = store;
    this.address = address;
    this.painter = new MaskPainter();
    this.cards = [];
    this.current = null; // number of the card that keys act on
    this.inView = new Set();
    this.onSeen = () => {};
    const near = { root: at('grid-view'), rootMargin: NEAR };
    this.loader = new IntersectionObserver((entries) => this.load(entries), near);
    this.watcher = new IntersectionObserver((entries) => this.watch(entries), {
      root: at('grid-view'),
    });
    this.showSoon = settled(() => this.showTools(), 50);
    store.on('group', () => this.build());
    store.on('images', (numbers) => this.update(numbers));
    at('order').addEventListener('change', () => this.sortBy(at('order').value));
    at('sort-again').addEventListener('click', () => this.sortBy(store.order));
    at('surer-than').addEventListener('input', () => this.showTools());
    at('grid').addEventListener('focusin', (event) => {
      const card = event.target.closest('li');
      this.select(Number(card.dataset.number));
    });
  }

  get least() {
    return Number(at('surer-than').value);
  }

  /** Make the cards of a group anew. */
  build() {
    const { store } = this;
    for (const card of this.cards) card.drop();
    this.loader.disconnect();
    this.watcher.disconnect();
    this.inView.clear();
    this.cards = store.images.map((image) => new Card(this, image));
    const again = this.group === store.group; // after a lost connection
    this.current = again && store.images[this.current] ? this.current : (store.sorted[0] ?? null);
    this.group = store.group;
    this.place();
    for (const card of this.cards) {
      this.loader.observe(card.item);
      this.watcher.observe(card.item);
    }
    if (!again) at('grid-view').scrollTop = 0;
    at('grid-empty').hidden = this.cards.length > 0;
    at('grid-empty').textContent =
      'No image of this group could be read. Mend the files that are named below, then run "mmcoseg segment" again.';
    this.showSkipped(store.about.skipped);
    this.showLegend(store.about.classes);
    this.showTools();
  }

  showSkipped(skipped) {
    at('skipped').hidden = !skipped.length;
    const [title, list] = at('skipped').children;
    title.textContent = `${counted(skipped.length, 'file')} skipped`;
    const lines = skipped.map(({ file_name: name, reason }) =>
      element('li', {}, element('strong', { textContent: name }), `: ${reason}`),
    );
    list.replaceChildren(...lines);
    at('skipped').open = !this.cards.length;
  }

  showLegend(classes) {
    at('legend').hidden = classes.length < 2;
    const entries = classes.map((name, i) => {
      const swatch = element('span', { class: 'swatch' });
      swatch.style.backgroundColor = colorOf(i);
      return element('li', {}, swatch, name);
    });
    at('legend').replaceChildren(...entries);
  }

  /** Put the cards in the store's order. */
  place() {
    at('grid').replaceChildren(...this.store.sorted.map((number) => this.cards[number].item));
    this.select(this.current);
    at('sort-again').hidden = true;
  }

  sortBy(order) {
    at('order').value = order;
    this.store.order = order;
    this.store.sort();
    this.place();
    at('grid-view').scrollTop = 0;
  }

  update(numbers) {
    for (const number of numbers) this.cards[number].show(this.store.images[number]);
    this.showSoon();
  }

  showTools() {
    const count = this.store.surerThan(this.least).length;
    at('surer-text').textContent = this.least.toFixed(2);
    at('accept-surer').textContent = `Accept ${counted(count, 'image')}`;
    at('accept-surer').disabled = !count;
    at('sort-again').hidden = !this.store.outOfOrder;
  }

  /** Make a card the one that Tab reaches and keys act on. */
  select(number) {
    if (this.current !== null) this.cards[this.current].link.tabIndex = -1;
    this.current = number;
    if (number !== null) this.cards[number].link.tabIndex = 0;
  }

  focus(number = this.current) {
    if (this.cards[number]) this.cards[number].link.focus();
  }

  /** Move the focus by this many cards. */
  move(by) {
    const { sorted } = this.store;
    const place = sorted.indexOf(this.current) + by;
    this.focus(sorted[place] ?? this.current);
  }

  get columns() {
    return getComputedStyle(at('grid')).gridTemplateColumns.split(' ').length;
  }

  load(entries) {
    for (const { target, isIntersecting } of entries) {
      const card = this.cards[target.dataset.number];
      if (isIntersecting) card.load();
      else card.drop();
    }
  }

  watch(entries) {
    for (const { target, isIntersecting } of entries) {
      const number = Number(target.dataset.number);
      if (isIntersecting) this.inView.add(number);
      else this.inView.delete(number);
    }
    this.onSeen();
  }
}

/** One image of the grid. Its pictures are there only while it is near the window. */
class Card {
  constructor(grid, image) {
    this.grid = grid;
    this.near = false;
    this.painting = null;
    this.photo = element('img', { alt: '', draggable: false, decoding: 'async' });
    this.photo.addEventListener('load', () => this.link.classList.add('loaded'));
    this.photo.addEventListener('error', () => this.link.classList.add('broken'));
    this.canvas = element('canvas', { 'aria-hidden': 'true', width: 0, height: 0 });
    this.link = element(
      'a',
      { class: 'picture', href: grid.address(image.number), tabIndex: -1 },
      this.photo,
      this.canvas,
    );
    this.marks = element('p', { class: 'marks' });
    this.state = element('p', { class: 'state' });
    const name = element('p', { class: 'name', textContent: image.file_name });
    this.item = element(
      'li',
      { 'data-number': image.number },
      this.link,
      this.state,
      name,
      this.marks,
    );
    this.show(image);
  }

  /** Show the state of the image, and its mask if that is another. */
  show(image) {
    const state = this.grid.store.stateOf(image);
    const stale = this.image && this.image.version !== image.version;
    const asked = this.grid.store.asked.has(image.number);
    this.image = image;
    const marks = [];
    if (image.changed)
      marks.push(element('span', { class: 'changed' }, icon('changed'), 'changed'));
    if (asked) marks.push(element('span', { class: 'changed' }, icon('changed'), 'would change'));
    if (image.empty) marks.push(element('span', {}, 'no object found'));
    if (image.hints) marks.push(element('span', {}, counted(image.hints, 'hint')));
    this.marks.replaceChildren(...marks);
    const sure =
      image.sureness === null
        ? []
        : [element('span', { class: 'sure' }, `sure ${image.sureness.toFixed(2)}`)];
    this.state.replaceChildren(
      icon(state.replace(' ', '-')),
      element('span', {}, STATES[state]),
      ...sure,
    );
    this.item.dataset.state = state;
    const told = [
      image.file_name,
      STATES[state],
      ...sure.map((part) => part.textContent),
      ...marks.map((mark) => mark.textContent),
    ];
    this.link.setAttribute('aria-label', told.join(', '));
    if (stale && this.near) this.paint();
  }

  load() {
    this.near = true;
    if (!this.photo.src) this.photo.src = api.thumbUrl(this.grid.store.group, this.image);
    this.paint();
  }

  /** Give back the memory of the mask. */
  drop() {
    this.near = false;
    this.stopPainting();
    this.canvas.width = 0;
    this.canvas.height = 0;
  }

  stopPainting() {
    if (this.painting) this.grid.painter.cancel(this.painting.id);
    this.painting = null;
  }

  /** Draw the mask; the one before stays until this one has come. */
  async paint() {
    this.stopPainting();
    const painting = this.grid.painter.paint(
      api.thumbMaskUrl(this.grid.store.group, this.image),
      LINE,
      TINT,
    );
    this.painting = painting;
    const layers = await painting.catch(() => []);
    if (this.painting === painting && layers.length) {
      this.canvas.width = layers[0].width;
      this.canvas.height = layers[0].height;
      const context = this.canvas.getContext('2d');
      for (const layer of layers) context.drawImage(layer, 0, 0);
      this.painting = null;
    }
    for (const layer of layers) layer.close();
  }
}
