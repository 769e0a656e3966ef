// Choose photos, watch as they are segmented, and go on to the review.

import { cancelApp, getApp, sendPhoto, startApp, Unreachable } from './api.js';
import { at, counted, element } from './dom.js';
import { showBanner } from './messages.js';

const PAUSE = 500; // milliseconds between two looks at how far it is
const LARGEST = 200e6; // bytes of a photo that the server takes
const UNKNOWN = '…';

let shown = { stage: null, folder: null };
let photos = 0; // the number of the next photo
let sending = false;
let refusal = null; // why the last start was refused

// ---- photos of this machine

/** Send photos one after the other, and say which were not taken. */
async function send(files) {
  if (sending) return;
  sending = true;
  refusal = null;
  const refused = [];
  at('start').disabled = true;
  at('sending').hidden = false;
  for (const [i, file] of files.entries()) {
    at('sending').value = i / files.length;
    at('sent').textContent = `Sending ${counted(files.length, 'photo')}`;
    try {
      if (file.size > LARGEST) throw new Error(`${file.name} is larger than 200 MB`);
      const { folder } = await sendPhoto(photos, file);
      photos += 1;
      takeFolder(folder);
    } catch (error) {
      refused.push(error.message);
      if (error instanceof Unreachable) break;
    }
  }
  sending = false;
  at('start').disabled = false;
  at('sending').hidden = true;
  at('sent').textContent = photos ? `${counted(photos, 'photo')} chosen` : '';
  listRefused(refused);
}

function listRefused(texts) {
  at('refused').hidden = !texts.length;
  at('refused').replaceChildren(...texts.map((text) => element('li', { textContent: text })));
}

/** Files that were dropped; the browser does not hand over what is in folders. */
function dropped(transfer) {
  const isFolder = (item) => item.webkitGetAsEntry()?.isDirectory;
  if ([...transfer.items].some(isFolder)) {
    listRefused(['Folders cannot be dropped: drop the photos in them, or give the path below.']);
    return [];
  }
  return [...transfer.files];
}

function over(event, isOver) {
  event.preventDefault();
  at('drop').classList.toggle('over', isOver);
}

addEventListener('dragover', (event) => over(event, shown.stage === 'choose'));
addEventListener('dragleave', (event) => over(event, false));
addEventListener('drop', (event) => {
  over(event, false);
  if (shown.stage === 'choose') send(dropped(event.dataTransfer));
});
at('choose-files').addEventListener('click', () => at('files').click());
at('files').addEventListener('change', async () => {
  await send([...at('files').files]);
  at('files').value = ''; // the same files may be chosen again
});

// ---- what the server says

/** Name a folder that the server names, but leave alone what somebody types. */
function takeFolder(folder) {
  if (folder !== null && folder !== shown.folder) at('folder').value = folder;
  shown = { ...shown, folder };
}

const rateText = (rate) =>
  rate >= 1 ? `${rate.toFixed(1)} photos per second` : `${(1 / rate).toFixed(1)} s per photo`;

function timeText(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function stepText({ group, done, total }) {
  if (total && done >= total) return 'Opening the review';
  return group === null ? 'Getting ready' : `Group ${group}`;
}

function say(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text; // screen readers read what changes
}

function showProgress(state) {
  const { total, share, rate, left } = state;
  say('step', stepText(state));
  if (share) at('bar').value = share;
  else at('bar').removeAttribute('value'); // at work, but nothing is counted yet
  say('done', total ? `${Math.floor(100 * share)} % of ${total}` : UNKNOWN);
  say('rate', rate ? rateText(rate) : UNKNOWN);
  say('left', left === null ? UNKNOWN : timeText(left));
  say('out', state.out ?? '');
}

function showNotes(notes) {
  at('notes').hidden = !notes.length;
  const list = at('notes').querySelector('ul');
  if (list.children.length === notes.length) return;
  at('notes').open = notes.length < 4;
  at('notes').querySelector('summary').textContent = counted(notes.length, 'note');
  list.replaceChildren(...notes.map((text) => element('li', { textContent: text })));
}

function showStage(stage) {
  const before = shown.stage;
  shown = { ...shown, stage };
  at('choose').hidden = stage !== 'choose';
  at('running').hidden = stage === 'choose';
  if (before === null || before === stage) return;
  at('cancel').disabled = false;
  say('cancel', 'Cancel');
  at(stage === 'choose' ? 'start' : 'step').focus();
}

function show(state) {
  if (state.stage === 'review') {
    location.reload();
    return;
  }
  if (!sending) {
    photos = state.photos;
    say('sent', photos ? `${counted(photos, 'photo')} chosen` : '');
  }
  takeFolder(state.folder);
  showStage(state.stage);
  showProgress(state);
  showNotes(state.notes);
  showProblem(refusal ?? state.error);
}

function showProblem(text) {
  at('problem').hidden = text === null;
  say('problem', text ?? '');
}

// ---- what people say

at('choose').addEventListener('submit', async (event) => {
  event.preventDefault();
  refusal = null;
  try {
    show(await startApp(at('folder').value));
  } catch (error) {
    refusal = error.message;
    showProblem(refusal);
  }
});
at('cancel').addEventListener('click', async () => {
  at('cancel').disabled = true;
  say('cancel', 'Stopping …');
  try {
    show(await cancelApp());
  } catch (error) {
    at('cancel').disabled = false;
    showBanner(error.message);
  }
});

async function watch() {
  try {
    show(await getApp());
    showBanner(null);
  } catch (error) {
    showBanner(error.message);
  }
  setTimeout(watch, PAUSE);
}

watch();
