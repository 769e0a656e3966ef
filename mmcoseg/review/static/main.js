// Starts the page, connects it to the server, and joins its parts.

import * as api from './api.js';
import { ask, ExportDialog } from './dialogs.js';
import { at, counted, settled } from './dom.js';
import { Grid } from './grid.js';
import { Header } from './header.js';
import { listenToKeys, showKeys } from './keys.js';
import { Messages, showBanner } from './messages.js';
import { Store } from './store.js';
import { Viewer } from './viewer.js';

const FIRST_WAIT = 500; // milliseconds until the page tries to connect again,
const LAST_WAIT = 5000; // and at most
const STEP = 8; // of the crosshair, in CSS pixels
const FAR = 40; // the same with Shift
const GRID_HELP = 'Enter shows an image large, Space accepts it, ? shows all keys.';
const IMAGE_HELP = matchMedia('(pointer: coarse)').matches
  ? 'Press Mark, then tap or brush what is the object, or what is not.'
  : 'Click what is the object, right-click what is not. Space accepts, ? shows all keys.';

const store = new Store();
const addressOf = (group, number) => (number === null ? `#${group}` : `#${group}/${number}`);
const grid = new Grid(store, (number) => addressOf(store.group, number));
const viewer = new Viewer(store);
const exporting = new ExportDialog(store);
const messages = new Messages(store, {
  showChanged: () => {
    go(store.group, null);
    grid.sortBy('changed');
    grid.focus(store.sorted[0]);
  },
  letChange: (numbers) => store.decide('unseen', numbers),
});
new Header(store, (group) => go(group, null));

// Where the page is: `#group` or `#group/image`, numbers both.

/** Go to an image, or to the grid (image null). */
function go(group, image, replace = false) {
  const address = addressOf(group, image);
  if (address === location.hash) return;
  if (replace) history.replaceState(null, '', address);
  else history.pushState(null, '', address);
  route();
}

async function route() {
  const [group, image] = location.hash.slice(1).split('/').map(Number);
  const { groups } = store.state;
  if (!groups.length) return;
  const wanted = groups[group] ? group : 0;
  try {
    if (store.group !== wanted) await store.openGroup(wanted);
  } catch (error) {
    store.report(error);
  }
  const shown = store.images[image] ? image : null;
  at('grid-view').inert = shown !== null;
  document.body.classList.toggle('one-image', shown !== null);
  if (shown === null) showGrid();
  else await showImage(shown);
}

function showGrid() {
  const from = viewer.number;
  viewer.hide();
  messages.setUsual(GRID_HELP);
  grid.focus(from ?? grid.current);
  lookSoon();
}

function showImage(number) {
  messages.setUsual(IMAGE_HELP);
  grid.select(number);
  lookSoon();
  const shown = viewer.number === number ? null : viewer.show(number);
  at('stage').focus();
  return shown;
}

const lookSoon = settled(() => {
  const image = chosen();
  const visible = viewer.number === null ? grid.visible : [];
  if (image !== null) api.looking({ group: store.group, image, visible }).catch(() => {});
}, 150);
grid.onSeen = lookSoon;

function focusMain() {
  if (viewer.number === null) grid.focus();
  else at('stage').focus();
}

// What buttons and keys do.

const chosen = () => viewer.number ?? grid.current;

function decide(decision) {
  const number = chosen();
  if (number === null) return;
  if (offline) {
    store.report(new api.Unreachable(), [store.images[number]]);
    return;
  }
  if (decision === 'accepted' && viewer.number !== null && !viewer.ready) {
    store.tell('message', { text: 'The photo is not shown yet.' });
    return;
  }
  if (!store.asked.size) messages.clear();
  store.decide(decision, [number]);
  const next = viewer.number === null ? store.nextUnseen(number) : store.mostTelling(number);
  if (next !== undefined) visit(next);
  else
    store.tell('message', {
      text: `All images of "${store.about.name}" are decided. You can export them, or choose another group.`,
    });
}

/** Show an image large, or focus its card, whatever is shown now. */
function visit(number) {
  if (viewer.number === null) grid.focus(number);
  else go(store.group, number, true);
}

function step(by) {
  const place = store.sorted.indexOf(chosen()) + by;
  if (place >= 0 && place < store.sorted.length) visit(store.sorted[place]);
}

async function acceptSurer() {
  const least = grid.least;
  const numbers = store.surerThan(least);
  const limit = least.toFixed(2);
  if (!numbers.length) {
    store.tell('message', { text: `No unseen image is surer than ${limit}.` });
    return;
  }
  const images = counted(numbers.length, 'image');
  const yes = await ask(
    `Accept all unseen images that are surer than ${limit}: ${images}?`,
    `Accept ${images}`,
  );
  if (!yes) return;
  messages.clear();
  store.decide('accepted', numbers);
}

async function travel(direction) {
  const place = await store.step(direction);
  if (!place) return;
  if (place.image === null || viewer.number === null) {
    if (place.group !== store.group) go(place.group, null);
    else if (place.image !== null) grid.focus(place.image);
  } else go(place.group, place.image, true);
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const actions = {
  accept: () => decide('accepted'),
  reject: () => decide('rejected'),
  leaveOut: () => decide('left out'),
  next: () => step(1),
  previous: () => step(-1),
  mostTelling: () => {
    const number = store.mostTelling(chosen());
    if (number !== undefined) go(store.group, number, viewer.number !== null);
    else store.tell('message', { text: 'There is no other unseen image.' });
  },
  acceptSurer,
  undo: () => travel('undo'),
  redo: () => travel('redo'),
  help: () => {
    showKeys();
    at('keys-dialog').showModal();
  },
  choose: (event) => viewer.choose(Number(event.key) - 1),
  crosshair: (event) => {
    const [x, y] = ARROWS[event.key];
    const size = event.shiftKey ? FAR : STEP;
    viewer.moveCrosshair(x * size, y * size);
  },
  markObject: () => viewer.markCrosshair(false),
  markBackground: () => viewer.markCrosshair(true),
  markStart: () => viewer.markStart(),
  markCorner: () => viewer.markCorner(),
  zoomIn: () => viewer.zoom(1.5),
  zoomOut: () => viewer.zoom(1 / 1.5),
  fit: () => viewer.stage.fit(),
  toggleMask: () => viewer.toggleMask(),
  toggleOutline: () => viewer.toggleOutline(),
  toGrid: () => viewer.leaveMark() || go(store.group, null),
  first: () => grid.focus(store.sorted[0]),
  last: () => grid.focus(store.sorted.at(-1)),
  moveFocus: (event) => {
    const [x, y] = ARROWS[event.key];
    grid.move(x + y * grid.columns);
  },
};

const BUTTONS = {
  accept: actions.accept,
  reject: actions.reject,
  'leave-out': actions.leaveOut,
  previous: actions.previous,
  next: actions.next,
  'to-grid': () => go(store.group, null),
  undo: actions.undo,
  redo: actions.redo,
  help: actions.help,
  export: () => exporting.open(),
  'accept-surer': acceptSurer,
};

function listen() {
  for (const [id, act] of Object.entries(BUTTONS)) at(id).addEventListener('click', act);
  listenToKeys(
    actions,
    () => (viewer.number === null ? 'All images' : 'One image'),
    viewer.gestures,
  );
  addEventListener('popstate', route);
  at('grid').addEventListener('click', (event) => {
    const card = event.target.closest('li');
    if (!card || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(store.group, Number(card.dataset.number));
  });
  // After a click, keys act on the image again and not on the button.
  let pointer = false;
  addEventListener('pointerdown', () => (pointer = true), true);
  addEventListener('keydown', () => (pointer = false), true);
  addEventListener('click', (event) => {
    if (pointer && event.target.closest('button') && !event.target.closest('dialog')) focusMain();
  });
  addEventListener('change', (event) => {
    if (pointer && event.target.closest('select')) focusMain();
  });
  for (const dialog of document.querySelectorAll('dialog'))
    dialog.addEventListener('close', focusMain);
}

// The connection. Whenever it is lost, all is loaded anew as soon as the server answers.

let offline = true;
let heard = 0; // the revision of the last event
let ended = false; // by the server's own word

async function connect(wait = FIRST_WAIT) {
  try {
    api.startConnection();
    await store.loadState();
    const { revision } = store.state;
    if (!store.state.groups.length) {
      at('grid-empty').hidden = true;
      at('export').disabled = true;
      showBanner(
        'There are no results in this folder. Run "mmcoseg segment" first, then open the review again.',
      );
      return;
    }
    if (store.group !== null)
      await store.openGroup(Math.min(store.group, store.state.groups.length - 1));
    viewer.hide();
    await route();
    showBanner(null);
    if (offline) messages.clear();
    offline = false;
    ended = false;
    heard = revision;
    api.listen(heard, take, () => lost(FIRST_WAIT));
  } catch (error) {
    if (error instanceof api.SignedOut)
      showBanner('This page is not signed in. Open the address that "mmcoseg review" has printed.');
    else lost(wait);
  }
}

function lost(wait) {
  offline = true;
  showBanner(
    ended
      ? 'The server has ended; all that was decided is saved. To go on, start "mmcoseg review" again and open the address that it prints.'
      : 'The connection to the server is lost. Trying again …',
  );
  setTimeout(() => connect(Math.min(LAST_WAIT, 1.5 * wait)), wait);
}

function take(event) {
  const missed = event.revision > heard + 1;
  heard = event.revision;
  if (event.kind === 'bye') ended = true;
  else store.take(event);
  if (missed) loadAnew();
}

/** Load all images anew, since the server no longer has some of the events. */
async function loadAnew() {
  try {
    await store.openGroup(store.group);
    viewer.hide();
    await route();
  } catch (error) {
    store.report(error);
  }
}

listen();
connect();
