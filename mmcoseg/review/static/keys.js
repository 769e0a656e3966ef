// All keys: what they are called, where they act, and what they do.

import { at, element } from './dom.js';

/** One line of the help: [names of keys, what they do, name of the action]. */
export const KEYS = {
  Everywhere: [
    [['Space'], 'accept, and go to the next unseen image', 'accept'],
    [['X'], 'the object is not here', 'reject'],
    [['D'], 'leave the image out', 'leaveOut'],
    [['J'], 'next image', 'next'],
    [['K'], 'previous image', 'previous'],
    [['N'], 'the unseen image that tells most about the others', 'mostTelling'],
    [['A'], 'accept all that are surer than the slider', 'acceptSurer'],
    [['Z', 'Ctrl-Z'], 'undo', 'undo'],
    [['Shift-Z', 'Ctrl-Shift-Z'], 'redo', 'redo'],
    [['?'], 'this help', 'help'],
  ],
  'All images': [
    [['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], 'choose an image', 'moveFocus'],
    [['Home'], 'the first image', 'first'],
    [['End'], 'the last image', 'last'],
    [['Enter'], 'show it large', null],
  ],
  'One image': [
    [['1', '2', '3', '4', '5', '6', '7', '8', '9'], 'class to mark', 'choose'],
    [
      ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'],
      'move the crosshair; with Shift, farther',
      'crosshair',
    ],
    [['Enter'], 'the crosshair is on the object', 'markObject'],
    [['Backspace', '-'], 'the crosshair is not on the object', 'markBackground'],
    [['S'], 'begin a stroke at the crosshair; Enter or Backspace ends it', 'markStart'],
    [['B'], 'begin a box at the crosshair; again: end it', 'markCorner'],
    [['PageUp'], 'zoom in', 'zoomIn'],
    [['PageDown'], 'zoom out', 'zoomOut'],
    [['F'], 'fit to the window', 'fit'],
    [['M'], 'show or hide the mask', 'toggleMask'],
    [['O'], 'outline only', 'toggleOutline'],
    [['G', 'Escape'], 'all images', 'toGrid'],
  ],
};

const MOUSE = [
  ['Click', 'this is the object'],
  ['Right click or Alt-click', 'this is not the object'],
  ['Drag', 'brush'],
  ['Shift-drag', 'box'],
  ['Wheel or pinch', 'zoom'],
  ['Space-drag, middle button, two fingers', 'move the photo'],
  ['Double click', 'fit to the window'],
];

const SHOWN = {
  ArrowLeft: '←',
  ArrowRight: '→',
  ArrowUp: '↑',
  ArrowDown: '↓',
  PageUp: 'Page up',
  PageDown: 'Page down',
  Escape: 'Esc',
};

/** What a key is called in KEYS. */
function nameOf(event) {
  if (event.key === ' ') return 'Space';
  const letter = /^[a-z]$/i.test(event.key);
  const control = event.ctrlKey || event.metaKey ? 'Ctrl-' : '';
  const shift = letter && event.shiftKey ? 'Shift-' : '';
  return control + shift + (letter ? event.key.toUpperCase() : event.key);
}

/** Whether the focused control needs the key itself. */
function isTaken(target, name) {
  if (target.closest('dialog, select')) return true;
  if (target.closest('input')) return /^(Arrow|Page|Home|End)/.test(name);
  if (target.closest('button, summary')) return name === 'Space' || name === 'Enter';
  return target.closest('a') !== null && name === 'Enter';
}

/** Call actions upon keys. `view()` is 'One image' or 'All images'. */
export function listenToKeys(actions, view, gestures) {
  const find = (name) => {
    const lines = [...KEYS[view()], ...KEYS.Everywhere];
    return lines.find(([keys]) => keys.includes(name))?.[2];
  };
  document.addEventListener('keydown', (event) => {
    const name = nameOf(event);
    if (event.altKey || isTaken(event.target, name) || document.querySelector('dialog[open]'))
      return;
    const action = find(name);
    if (!action) return;
    event.preventDefault();
    // In one image, Space moves the photo while it is held; it accepts when it is let go.
    if (name === 'Space' && view() === 'One image') {
      gestures.spaceHeld = true;
      gestures.spaceUsed &&= event.repeat;
    } else if (name !== 'Space' || !event.repeat) {
      actions[action](event);
    }
  });
  document.addEventListener('keyup', (event) => {
    if (event.key !== ' ' || !gestures.spaceHeld) return;
    gestures.spaceHeld = false;
    if (!gestures.spaceUsed) actions.accept(event);
  });
  addEventListener('blur', () => {
    gestures.spaceHeld = false;
  });
}

/** Fill the help dialog. */
export function showKeys() {
  const tables = Object.entries(KEYS).map(([title, lines]) => {
    const rows = lines.map(([keys, text]) => {
      const short = keys.length > 6 ? [keys[0], '…', keys.at(-1)] : keys;
      return row(
        short.map((key) => element('kbd', {}, SHOWN[key] ?? key)),
        text,
      );
    });
    return table(title, rows);
  });
  const mouse = MOUSE.map(([what, text]) => row([what], text));
  tables.splice(2, 0, table('Mouse and fingers', mouse));
  at('keys-tables').replaceChildren(...tables);
}

const row = (keys, text) =>
  element('tr', {}, element('th', { scope: 'row' }, ...keys), element('td', {}, text));
const table = (title, rows) =>
  element('table', {}, element('caption', {}, title), element('tbody', {}, ...rows));
