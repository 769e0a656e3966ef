// Photos that were shown lately or are likely shown next, decoded.

const KEPT = 6;

export class Photos {
  constructor() {
    this.kept = new Map(); // address -> promise of an image, the oldest first
  }

  /** The image at an address, decoded. Rejected if there is none. */
  get(url) {
    const photo = this.kept.get(url) ?? load(url);
    this.kept.delete(url);
    this.kept.set(url, photo);
    photo.catch(() => this.kept.delete(url));
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    return photo;
  }
}

async function load(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
