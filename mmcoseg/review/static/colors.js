// Colors of mask values 1, 2, ...: red, green and blue, in the order of the package's pictures
// (mmcoseg.visualization.PALETTE). They repeat if there are more values.

export const COLORS = [
  [255, 140, 0],
  [0, 190, 255],
  [240, 80, 160],
  [0, 200, 120],
  [245, 230, 60],
  [90, 110, 255],
  [230, 60, 40],
  [170, 120, 255],
];

/** The color of class `number`, from 0 on, for CSS and for a canvas. */
export const colorOf = (number) => `rgb(${COLORS[number % COLORS.length].join(' ')})`;
