// What the page knows: the groups, the images of one group, and what was decided but not yet told.

import * as api from './api.js';

/** Names of the states of an image as the server calls them, and as people read them. */
export const STATES = {
  unseen: 'unseen',
  accepted: 'accepted',
  corrected: 'corrected',
  rejected: 'not here',
  'left out': 'left out',
};
const RANKS = Object.keys(STATES);

/**
 * Fires events: `state` (groups, undo), `group` (another group, or all of it anew), `images` (the
 * numbers of those that changed), `message` and `spread`.
 */
export class Store extends EventTarget {
  constructor() {
    super();
    this.state = null;
    this.group = null; // number
    this.images = []; // by number
    this.order = 'doubt';
    this.sorted = []; // numbers, as the grid shows them
    this.asked = new Set(); // accepted images that would change
    this.underway = new Map(); // number of an image -> the decision on its way to the server
    this.loading = null; // number of the group that is loaded now
    this.early = []; // events that came meanwhile
  }

  tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  on(kind, act) {
    this.addEventListener(kind, (event) => act(event.detail));
  }

  /** Tell the person of an error of api.js, and which images it is about. */
  report(error, images = []) {
    const about = { 0: '', 1: `${images[0]?.file_name}: ` };
    const text = (about[images.length] ?? `${images.length} images: `) + error.message;
    this.tell('message', { problem: true, text });
  }

  get about() {
    return this.state.groups[this.group];
  }

  async loadState() {
    this.state = await api.getState();
    this.tell('state');
  }

  async openGroup(group) {
    this.loading = group;
    this.early = [];
    const { images } = await api.getGroup(group);
    if (this.loading !== group) return;
    this.loading = null;
    this.group = group;
    this.images = images;
    this.asked.clear();
    this.underway.clear();
    this.sort();
    this.tell('group');
    this.early.forEach((event) => this.takeImages(event));
  }

  /** One event of the server. */
  take(event) {
    const actions = {
      images: () => this.takeImages(event),
      state: () => this.takeState(event.state),
      values: () => this.takeValues(event),
      spread: () => this.takeSpread(event),
      progress: () => this.takeProgress(event),
      problem: () => this.tell('message', { problem: true, text: event.text }),
    };
    actions[event.kind]?.();
  }

  takeImages(event) {
    if (event.group === this.loading) this.early.push(event);
    if (event.group !== this.group) return;
    const numbers = [];
    for (const image of event.images) {
      image.revision = event.revision;
      this.images[image.number] = image;
      numbers.push(image.number);
    }
    this.tell('images', numbers);
  }

  takeState(state) {
    this.state = state;
    this.tell('state');
  }

  takeProgress({ group, prepared }) {
    this.state.groups[group].prepared = prepared;
    this.tell('state');
  }

  takeValues({ group, values }) {
    if (group !== this.group) return;
    for (const image of this.images) image.value = values[image.number];
  }

  takeSpread(event) {
    if (event.group !== this.group) return;
    const before = this.asked;
    this.asked = new Set(event.asked);
    this.tell('images', [...before, ...event.asked]);
    this.tell('spread', event);
  }

  /** Somebody has looked at an image. */
  see(number) {
    if (!this.images[number]?.changed) return;
    this.images[number].changed = false;
    this.tell('images', [number]);
  }

  stateOf(image) {
    const decided = this.underway.get(image.number);
    return decided ? stateAfter(decided.decision, image) : image.state;
  }

  isUnseen(number) {
    return this.stateOf(this.images[number]) === 'unseen';
  }

  /** How many images of the group are in each state. */
  counts() {
    const counts = Object.fromEntries(RANKS.map((state) => [state, 0]));
    for (const image of this.images) counts[this.stateOf(image)] += 1;
    return counts;
  }

  /** Show a decision on images at once; take it back if the server does not agree. */
  async decide(decision, numbers) {
    const { group, images } = this;
    const made = { decision };
    for (const number of numbers) this.underway.set(number, made);
    this.tell('images', numbers);
    try {
      const { revision } = await api.act({ decide: decision, group, images: numbers });
      this.tookStep();
      for (const number of numbers) {
        const image = images[number];
        if ((image.revision ?? 0) < revision) image.state = stateAfter(decision, image);
        this.asked.delete(number);
      }
    } catch (error) {
      this.report(
        error,
        numbers.map((number) => images[number]),
      );
    }
    for (const number of numbers) {
      if (this.underway.get(number) === made) this.underway.delete(number);
    }
    if (this.group === group) this.tell('images', numbers);
  }

  /** Give a hint on an image. Whether the server took it. */
  async hint(image, hint) {
    try {
      await api.act({ hint, group: this.group, image: image.number });
      this.tookStep();
      return true;
    } catch (error) {
      this.report(error, [image]);
      return false;
    }
  }

  tookStep() {
    this.state.can_undo = true;
    this.state.can_redo = false;
    this.tell('state');
  }

  /** Undo or redo. Where it happened, {group, image}; null if it could not be done. */
  async step(direction) {
    try {
      const { group, image, what } = await api[direction]();
      if (group === null) {
        this.tell('message', { text: `There is nothing to ${direction}.` });
        return null;
      }
      const done = direction === 'undo' ? 'Undone' : 'Done again';
      this.tell('message', { text: `${done}: ${what}` });
      await this.loadState();
      return { group, image };
    } catch (error) {
      this.report(error);
      return null;
    }
  }

  /** Put the images in order once; they keep their places until the next call. */
  sort() {
    const numbers = this.images.map((image) => image.number);
    this.sorted = numbers.sort((a, b) => this.compare(a, b));
  }

  compare(a, b) {
    const keys = {
      doubt: (image) => image.sureness ?? -1,
      name: (image) => image.number,
      state: (image) => RANKS.indexOf(this.stateOf(image)),
      changed: (image) => (image.changed || this.asked.has(image.number) ? 0 : 1),
    };
    for (const order of [this.order, 'doubt', 'name']) {
      const difference = keys[order](this.images[a]) - keys[order](this.images[b]);
      if (difference) return difference;
    }
    return 0;
  }

  /** Whether the images do not stand in order any more. */
  get outOfOrder() {
    return this.sorted.some(
      (number, place) => place && this.compare(this.sorted[place - 1], number) > 0,
    );
  }

  /** All others, those after `number` first. */
  after(number) {
    const place = this.sorted.indexOf(number);
    return [...this.sorted.slice(place + 1), ...this.sorted.slice(0, Math.max(0, place))];
  }

  /** The next image that nobody has judged, in the order of the grid; undefined: there is none. */
  nextUnseen(number) {
    return this.after(number).find((other) => this.isUnseen(other));
  }

  /** The image that nobody has judged whose answer tells most about the others. */
  mostTelling(number) {
    let best;
    for (const other of this.after(number)) {
      const better = best === undefined || this.images[other].value > this.images[best].value;
      if (better && this.isUnseen(other)) best = other;
    }
    return best;
  }

  /** Numbers of unseen images that are surer than `least`. */
  surerThan(least) {
    return this.sorted.filter((n) => this.isUnseen(n) && this.images[n].sureness > least);
  }
}

function stateAfter(decision, image) {
  return decision === 'accepted' && image.hints ? 'corrected' : decision;
}
