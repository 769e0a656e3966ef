// The line at the bottom: what has happened, and what can be done about it.

import { at, counted, element, icon } from './dom.js';

/** What to do so that other images follow, by what no hint shows yet. */
const TIPS = {
  object: 'Only this photo changed. Mark what is the object, too: then others can follow.',
  background: 'Only this photo changed. Mark what is not the object, too: then others can follow.',
};

export class Messages {
  /** `actions` has `showChanged()`, and `letChange(numbers)`. */
  constructor(store, actions) {
    this.usual = '';
    store.on('message', (message) => this.say(message));
    store.on('spread', ({ changed, accepted_changed: accepted, asked, unsaid }) => {
      if (!changed) {
        if (unsaid) this.say({ text: TIPS[unsaid] });
        return;
      }
      const text = `${counted(changed, 'image')} changed${accepted ? `, ${accepted} of them accepted before` : ''}.`;
      const allow = { label: `Let the ${accepted} change`, act: () => actions.letChange(asked) };
      const answers = accepted ? [allow] : [];
      const showThem = () => {
        actions.showChanged();
        this.say({ text, buttons: answers });
      };
      this.say({ text, buttons: [{ label: 'Show them', act: showThem }, ...answers] });
    });
  }

  /** Show a message until the next one, or until it is closed. */
  say({ text, problem = false, buttons = [] }) {
    const line = element('span', { class: 'text', textContent: text });
    const parts = problem ? [icon('problem'), line] : [line];
    for (const { label, act } of buttons) {
      const button = element('button', { type: 'button', textContent: label });
      button.addEventListener('click', () => {
        this.clear();
        act();
      });
      parts.push(button);
    }
    const close = element(
      'button',
      { type: 'button', class: 'close', 'aria-label': 'Close this message' },
      icon('close'),
    );
    close.addEventListener('click', () => this.clear());
    at('status').className = problem ? 'problem' : 'news';
    at('message').replaceChildren(...parts, close);
  }

  /** Back to the hint for the current view. */
  clear() {
    at('status').className = '';
    at('message').textContent = this.usual;
  }

  setUsual(text) {
    const shown = at('message').textContent;
    const quiet = shown === this.usual;
    this.usual = text;
    if (quiet) this.clear();
  }
}

/** A lasting sentence above everything, null for none. */
export function showBanner(text) {
  at('banner').hidden = text === null;
  at('banner').textContent = text ?? '';
}
