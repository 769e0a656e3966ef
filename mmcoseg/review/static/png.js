// Reads masks. A canvas would decode them, too, but browsers that guard against fingerprinting add
// noise to what a canvas gives back, and the values of a mask must be exact.

const HEADER = 8;

/** The pixels of an 8-bit gray PNG: `{width, height, values}`, values row by row (Uint8Array). */
export async function readGrayPng(buffer) {
  const view = new DataView(buffer);
  const parts = [];
  let width = 0;
  let height = 0;
  let at = HEADER;
  while (at < buffer.byteLength) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...new Uint8Array(buffer, at + 4, 4));
    const start = at + 8;
    if (kind === 'IHDR') {
      width = view.getUint32(start);
      height = view.getUint32(start + 4);
      const [depth, color, , , interlaced] = new Uint8Array(buffer, start + 8, 5);
      if (depth !== 8 || color !== 0 || interlaced) throw new Error('not an 8-bit gray PNG');
    } else if (kind === 'IDAT') {
      parts.push(new Uint8Array(buffer, start, length));
    }
    at = start + length + 4;
  }
  const inflated = new Blob(parts).stream().pipeThrough(new DecompressionStream('deflate'));
  const bytes = new Uint8Array(await new Response(inflated).arrayBuffer());
  return { width, height, values: withoutFilters(bytes, width, height) };
}

/** Undo the filter of each row, whose number stands before the row. */
function withoutFilters(bytes, width, height) {
  const values = new Uint8Array(width * height);
  let above = new Uint8Array(width);
  for (let y = 0; y < height; y++) {
    const start = y * (width + 1);
    const row = values.subarray(y * width, (y + 1) * width);
    row.set(bytes.subarray(start + 1, start + 1 + width));
    FILTERS[bytes[start]](row, above);
    above = row;
  }
  return values;
}

// Each adds to the pixels of a row what its filter has taken away.
const FILTERS = [
  () => {},
  (row) => {
    for (let x = 1; x < row.length; x++) row[x] += row[x - 1];
  },
  (row, above) => {
    for (let x = 0; x < row.length; x++) row[x] += above[x];
  },
  (row, above) => {
    row[0] += above[0] >> 1;
    for (let x = 1; x < row.length; x++) row[x] += (row[x - 1] + above[x]) >> 1;
  },
  (row, above) => {
    row[0] += above[0];
    for (let x = 1; x < row.length; x++) row[x] += paeth(row[x - 1], above[x], above[x - 1]);
  },
];

/** That of three neighbors which is nearest to left + up - corner. */
function paeth(left, up, corner) {
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
