// One image of the grid: its photo, its mask, its state.

import * as api from './api.js';
import { counted, element, icon } from './dom.js';
import { STATES } from './store.js';

const TINT = 0.4; // opacity of masks
const LINE = 2; // width of outlines, in pixels of a thumbnail

/**
 * Its pictures are loaded only while it is near the window. The mask is a picture, too, and not a
 * canvas: hundreds of those slow down scrolling.
 */
export class Card {
  constructor(store, painter, image, address) {
    this.store = store;
    this.painter = painter;
    this.near = false;
    this.painting = null;
    this.photo = element('img', { alt: '', draggable: false, decoding: 'async' });
    this.mask = element('img', { class: 'mask', alt: '', draggable: false, decoding: 'async' });
    this.link = element('a', { class: 'picture', href: address, tabIndex: -1 }, this.photo);
    this.link.append(this.mask);
    this.marks = element('p', { class: 'marks' });
    this.state = element('p', { class: 'state' });
    const name = element('p', { class: 'name' }, image.file_name);
    this.item = element('li', { 'data-number': image.number }, this.link, this.state);
    this.item.append(name, this.marks);
    this.photo.addEventListener('load', () => this.link.classList.add('loaded'));
    this.photo.addEventListener('error', () => this.link.classList.add('broken'));
    this.image = image;
    this.show(image);
  }

  /** Show the state of the image, and its mask if that is another. */
  show(image) {
    const stale = this.image.version !== image.version;
    this.image = image;
    const state = this.store.stateOf(image);
    const marks = this.marksOf(image);
    const isOpen = state === 'unseen' && image.sureness !== null;
    const sure = isOpen ? `sure ${image.sureness.toFixed(2)}` : '';
    this.item.dataset.state = state;
    this.state.replaceChildren(
      icon(state.replace(' ', '-')),
      element('span', {}, STATES[state]),
      element('span', { class: 'sure' }, sure),
    );
    this.marks.replaceChildren(...marks);
    const told = [image.file_name, STATES[state], sure, ...marks.map((mark) => mark.textContent)];
    this.link.setAttribute('aria-label', told.filter(Boolean).join(', '));
    if (stale && this.near) this.paint();
  }

  /** What else there is to say of it, as elements. */
  marksOf(image) {
    const changed = (text) => element('span', { class: 'changed' }, icon('changed'), text);
    const marks = [];
    const asked = this.store.asked.has(image.number);
    if (asked || image.changed) marks.push(changed(asked ? 'would change' : 'changed'));
    if (image.empty) marks.push(element('span', {}, 'no object found'));
    if (image.hints) marks.push(element('span', {}, counted(image.hints, 'hint')));
    return marks;
  }

  load() {
    this.near = true;
    if (!this.photo.src) this.photo.src = api.thumbUrl(this.store.group, this.image);
    this.paint();
  }

  /** Give back the memory of the mask. */
  drop() {
    this.near = false;
    this.stopPainting();
    URL.revokeObjectURL(this.mask.src);
    this.mask.removeAttribute('src');
  }

  stopPainting() {
    if (this.painting) this.painter.cancel(this.painting.id);
    this.painting = null;
  }

  /** Draw the mask; the one before stays until this one has come. */
  async paint() {
    this.stopPainting();
    const url = api.thumbMaskUrl(this.store.group, this.image);
    const painting = this.painter.paintFile(url, LINE, TINT);
    this.painting = painting;
    const file = await painting.catch(() => null);
    if (this.painting !== painting || !file) return;
    this.painting = null;
    const before = this.mask.src;
    this.mask.src = URL.createObjectURL(file);
    this.mask.onload = () => URL.revokeObjectURL(before);
  }
}
