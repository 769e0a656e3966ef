// All images of a group, small, each with its mask and its state.

import { Card } from './card.js';
import { at, counted, element, settled } from './dom.js';
import { colorOf } from './colors.js';
import { MaskPainter } from './masks.js';

const NEAR = '600px'; // around the window: pictures there are loaded

export class Grid {
  /** `address(number)` is the link to an image. */
  constructor(store, address) {
    this.store = store;
    this.address = address;
    this.painter = new MaskPainter();
    this.cards = [];
    this.current = null; // number of the card that keys act on
    this.touched = false; // whether somebody has begun to work here
    this.onSeen = () => {};
    const near = { root: at('grid-view'), rootMargin: NEAR };
    this.loader = new IntersectionObserver((entries) => this.load(entries), near);
    this.showSoon = settled(() => this.showTools(), 50);
    store.on('group', () => this.build());
    store.on('images', (numbers) => this.update(numbers));
    at('order').addEventListener('change', () => this.sortBy(at('order').value));
    at('sort-again').addEventListener('click', () => this.sortBy(store.order));
    at('surer-than').addEventListener('input', () => this.showTools());
    at('grid-view').addEventListener('scroll', () => this.onSeen());
    for (const kind of ['pointerdown', 'keydown', 'wheel'])
      addEventListener(kind, () => (this.touched = true), { passive: true });
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
    this.cards = store.images.map(
      (image) => new Card(store, this.painter, image, this.address(image.number)),
    );
    const again = this.group === store.group; // after a lost connection
    this.current = again && store.images[this.current] ? this.current : (store.sorted[0] ?? null);
    this.group = store.group;
    this.place();
    for (const card of this.cards) this.loader.observe(card.item);
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
    if (!this.touched && this.store.outOfOrder) {
      this.sortBy(this.store.order);
      this.focus(this.store.sorted[0]);
    }
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
    this.onSeen();
  }

  /** Numbers of the images on the screen. */
  get visible() {
    const window = at('grid-view').getBoundingClientRect();
    const shown = this.cards.filter((card) => {
      if (!card.near) return false;
      const { top, bottom } = card.item.getBoundingClientRect();
      return bottom > window.top && top < window.bottom;
    });
    return shown.map((card) => card.image.number);
  }
}
