// Asks a worker for pictures of masks.

export class MaskPainter {
  constructor() {
    this.waiting = new Map();
    this.count = 0;
    this.worker = new Worker('/static/mask_worker.js', { type: 'module' });
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error) reject(new Error(data.error));
      else resolve(data.painted);
    };
    this.worker.onerror = () => {
      for (const { reject } of this.waiting.values()) reject(new Error('masks cannot be drawn'));
      this.waiting.clear();
    };
  }

  /**
   * Layers of a mask: [fill, edges], ImageBitmaps of the mask's size.
   *
   * `thick` is the width of outlines in pixels of the mask, `alpha` the opacity of the fill. The
   * promise has an `id` for `cancel`.
   */
  paint(url, thick, alpha) {
    return this.send({ url, thick, alpha, asFile: false });
  }

  /** The same in one picture: a PNG file (Blob). */
  paintFile(url, thick, alpha) {
    return this.send({ url, thick, alpha, asFile: true });
  }

  send(wish) {
    const id = ++this.count;
    const painted = new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.worker.postMessage({ id, ...wish });
    return Object.assign(painted, { id });
  }

  cancel(id) {
    this.worker.postMessage({ cancel: id });
  }
}
