// Loads masks and makes pictures of them, beside the page's own thread.

import { COLORS } from './colors.js';
import { readGrayPng } from './png.js';

const DARK = 0x99000000; // around outlines, so that they show on any photo
const running = new Map(); // number of a wish -> its AbortController

/** Colors as the pixels of an ImageData hold them, with this opacity. */
function packed(alpha) {
  const opacity = Math.round(255 * alpha) << 24;
  return COLORS.map(([red, green, blue]) => (opacity | (blue << 16) | (green << 8) | red) >>> 0);
}

/** Whether a pixel is within `reach` of another value, to the sides or up and down. */
function nearEdge(values, width, height, x, y, reach) {
  const at = y * width + x;
  const value = values[at];
  return (
    (x >= reach && values[at - reach] !== value) ||
    (x + reach < width && values[at + reach] !== value) ||
    (y >= reach && values[at - reach * width] !== value) ||
    (y + reach < height && values[at + reach * width] !== value)
  );
}

/**
 * Two pictures of a mask: its objects filled, and their outlines. Pixels are Uint32Arrays.
 *
 * An outline is `thick` pixels wide and lies in its object; outside of it runs a thin dark line.
 */
function draw({ width, height, values }, thick, alpha) {
  const fill = new Uint32Array(values.length);
  const edges = new Uint32Array(values.length);
  const [tints, colors] = [packed(alpha), packed(1)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const value = values[at];
      const reach = value ? thick : Math.ceil(thick / 2);
      const edge =
        nearEdge(values, width, height, x, y, 1) ||
        (reach > 1 && nearEdge(values, width, height, x, y, reach));
      if (value) fill[at] = tints[(value - 1) % tints.length];
      if (edge) edges[at] = value ? colors[(value - 1) % colors.length] : DARK;
    }
  }
  return [fill, edges];
}

const picture = (pixels, width) => new ImageData(new Uint8ClampedArray(pixels.buffer), width);

/** The two as ImageBitmaps. */
function layersOf(pictures, width) {
  return Promise.all(pictures.map((pixels) => createImageBitmap(picture(pixels, width))));
}

/** Outlines upon fills, as a PNG. */
function fileOf([fill, edges], width, height) {
  const both = fill.map((color, at) => edges[at] || color);
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d').putImageData(picture(both, width), 0, 0);
  return canvas.convertToBlob();
}

/** Load and draw the mask of one wish, and send it as layers, [fill, edges], or as a file. */
async function grant({ id, url, thick, alpha, asFile }) {
  const stop = new AbortController();
  running.set(id, stop);
  try {
    const answer = await fetch(url, { signal: stop.signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const mask = await readGrayPng(await answer.arrayBuffer());
    const pictures = draw(mask, thick, alpha);
    if (asFile) {
      postMessage({ id, painted: await fileOf(pictures, mask.width, mask.height) });
    } else {
      const layers = await layersOf(pictures, mask.width);
      postMessage({ id, painted: layers }, layers);
    }
  } catch (error) {
    postMessage({ id, error: error.message });
  }
  running.delete(id);
}

onmessage = ({ data }) => {
  if (data.cancel) running.get(data.cancel)?.abort();
  else grant(data);
};
