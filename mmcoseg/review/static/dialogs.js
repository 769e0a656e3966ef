// Questions and the export.

import * as api from './api.js';
import { at, counted, element } from './dom.js';

/** Ask a question; a promise of whether the answer is yes. */
export function ask(text, yes) {
  const dialog = at('ask-dialog');
  at('ask-text').textContent = text;
  at('ask-yes').textContent = yes;
  dialog.returnValue = '';
  dialog.showModal();
  at('ask-yes').focus();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      // The event of closing comes late, perhaps when the next question is there.
      if (!dialog.open) resolve(dialog.returnValue === 'yes');
    };
  });
}

export class ExportDialog {
  constructor(store) {
    this.store = store;
    at('export-run').addEventListener('click', () => this.run());
    at('download-hints').addEventListener('click', () =>
      this.download('/api/hints.json', 'hints.json'),
    );
    at('download-object').addEventListener('click', () => {
      const { name, number } = store.about;
      this.download(`/api/groups/${number}/object.coseg`, `${name}.coseg`);
    });
  }

  async open() {
    this.answer();
    at('export-dialog').showModal();
    try {
      if (!at('formats').children.length) this.offer(await api.getFormats());
    } catch (error) {
      this.answer(error.message);
    }
  }

  offer(formats) {
    const boxes = formats.map((name) => {
      const box = element('input', { type: 'checkbox', value: name });
      return element('label', {}, box, ` ${name}`);
    });
    boxes[0].firstChild.checked = true;
    at('formats').replaceChildren(...boxes);
  }

  async run() {
    const chosen = [...at('formats').querySelectorAll('input:checked')].map((box) => box.value);
    if (!chosen.length) return this.answer('Choose at least one format.');
    at('export-run').disabled = true;
    this.answer('Writing …');
    try {
      const { folder, skipped } = await api.exportFiles(chosen);
      const lines = skipped.map(({ file_name: name, reason }) => `${name}: ${reason}`);
      const left = lines.length ? ` ${counted(lines.length, 'file')} skipped:` : '';
      this.answer(`Written into ${folder}.${left}`, lines);
    } catch (error) {
      this.answer(error.message);
    }
    at('export-run').disabled = false;
  }

  async download(path, name) {
    try {
      await api.download(path, name);
      this.answer(`Saved as ${name}.`);
    } catch (error) {
      this.answer(error.message);
    }
  }

  answer(text = '', lines = []) {
    const list = element('ul', {}, ...lines.map((line) => element('li', {}, line)));
    at('export-answer').replaceChildren(element('p', {}, text), ...(lines.length ? [list] : []));
  }
}
