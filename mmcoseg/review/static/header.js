// The lines above the images: which group, how much is decided, how sure the group is.

import { at, counted, element, icon } from './dom.js';
import { STATES } from './store.js';

const percent = (share) => `${Math.round(100 * share)} %`;

export class Header {
  constructor(store, onGroup) {
    this.store = store;
    store.on('state', () => this.show());
    store.on('group', () => this.show());
    store.on('images', () => this.showCounts());
    at('group').addEventListener('change', () => onGroup(Number(at('group').value)));
    this.counts = new Map();
    for (const [state, name] of Object.entries(STATES)) {
      const count = element('strong');
      this.counts.set(state, count);
      at('counts').append(
        element('li', { 'data-state': state }, icon(state.replace(' ', '-')), count, ` ${name}`),
      );
    }
  }

  show() {
    const { state, group } = this.store;
    document.title = `${state.title}: review`;
    at('title').textContent = state.title;
    at('undo').disabled = !state.can_undo;
    at('redo').disabled = !state.can_redo;
    this.showChooser(state.groups);
    if (group === null) return;
    const { sureness, prepared } = this.store.about;
    at('sureness').value = sureness;
    at('sureness-text').textContent = percent(sureness);
    at('sureness-line').hidden = prepared < 1;
    at('preparing-line').hidden = prepared >= 1;
    at('preparing').value = prepared;
    at('preparing-text').textContent =
      `Hints act on their own photo until the group is prepared: ${percent(prepared)}`;
    this.showCounts();
  }

  showChooser(groups) {
    at('chooser').hidden = groups.length < 2;
    const options = groups.map(({ name, number, images, counts }) => {
      const text = `${name} (${images - counts.unseen} of ${images})`;
      return element('option', { value: number, textContent: text });
    });
    const shown = [...at('group').options].map((option) => option.textContent);
    if (options.some((option, i) => option.textContent !== shown[i]))
      at('group').replaceChildren(...options);
    at('group').value = this.store.group;
  }

  showCounts() {
    const counts = this.store.counts();
    const all = this.store.images.length;
    const decided = all - counts.unseen;
    at('progress').max = Math.max(1, all);
    at('progress').value = decided;
    at('decided').textContent = `${decided} of ${counted(all, 'image')} decided`;
    for (const [state, count] of this.counts) {
      count.textContent = counts[state];
      count.parentElement.classList.toggle('none', !counts[state]);
    }
  }
}
