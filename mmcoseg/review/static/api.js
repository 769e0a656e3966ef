// What the page asks of the server. Every failure is an Error whose message can be shown.

/** The server answered, and said no. */
export class Refused extends Error {}
/** The server does not know this page any more. */
export class SignedOut extends Error {}
/** There was no answer. */
export class Unreachable extends Error {
  constructor() {
    super('The server does not answer. Nothing was changed.');
  }
}

// Addresses of pictures differ with each connection, since a browser keeps pictures for long, and
// another folder's images may later have the same numbers.
let connection = '';

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Unreachable();
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const text = told.error || `The server could not do it (status ${answer.status}).`;
  const signedOut = answer.status === 401 || answer.status === 403;
  throw signedOut ? new SignedOut(text) : new Refused(text);
}

const get = async (path) => (await ask(path)).json();

async function post(path, body) {
  const headers = { 'Content-Type': 'application/json', 'X-Mmcoseg': '1' };
  const answer = await ask(path, { method: 'POST', headers, body: JSON.stringify(body) });
  return answer.json();
}

// Actions reach the server in the order in which they were made.
let last = Promise.resolve();

function inOrder(send) {
  const sent = last.then(send);
  last = sent.catch(() => {});
  return sent;
}

/** Say something of an image or of several. */
export const act = (action) => inOrder(() => post('/api/actions', action));

export const getState = () => get('/api/state');
export const getGroup = (group) => get(`/api/groups/${group}`);
export const getImage = (group, image) => get(`/api/groups/${group}/images/${image}`);
export const getFormats = () => get('/api/formats');
export const undo = () => inOrder(() => post('/api/undo', {}));
export const redo = () => inOrder(() => post('/api/redo', {}));
/** Write files of what was decided up to now; later actions need not wait for it. */
export async function exportFiles(formats) {
  await last;
  return post('/api/export', { formats });
}
export const looking = (seen) => post('/api/looking', seen);

// Before there is a review: choosing photos, and segmenting them.

export const getApp = () => get('/api/app');
export const startApp = (folder) => post('/api/app/start', { folder });
export const cancelApp = () => post('/api/app/cancel', {});

/** Send a photo of the person's machine; its number tells it from others of the same name. */
export async function sendPhoto(number, file) {
  const path = `/api/app/photos/${number}?name=${encodeURIComponent(file.name)}`;
  const headers = { 'Content-Type': 'application/octet-stream', 'X-Mmcoseg': '1' };
  const answer = await ask(path, { method: 'PUT', headers, body: file });
  return answer.json();
}

/** Save what the server gives under `path` as a file. */
export async function download(path, name) {
  const answer = await ask(path);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Hear of all changes after `revision`; `onLost` is called once, when the connection ends. */
export function listen(revision, onEvent, onLost) {
  const source = new EventSource(`/api/events?revision=${revision}`);
  source.onmessage = (message) => onEvent(JSON.parse(message.data));
  source.onerror = () => {
    source.close();
    onLost();
  };
}

export function startConnection() {
  connection = Date.now().toString(36);
}
export const thumbUrl = (group, image) =>
  `/thumb/${group}/${image.number}?v=${image.version}&c=${connection}`;
export const photoUrl = (group, image) => `/photo/${group}/${image.number}?c=${connection}`;
export const maskUrl = (group, image) =>
  `/mask/${group}/${image.number}?v=${image.version}&c=${connection}`;
export const thumbMaskUrl = (group, image) => `${maskUrl(group, image)}&size=thumb`;
