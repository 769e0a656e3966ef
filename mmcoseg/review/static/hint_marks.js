// Draws hints on the stage. A plus or a minus says what a color says.

const SHARE = 0.01; // radius of a click, and half the width of a stroke, of the longer side
const SMALLEST = 8; // radius of a sign, in CSS pixels
const DARK = '#14161a';
const LIGHT = '#ffffff';

const isObject = (hint) => hint.object !== false;

export function drawHint(context, stage, hint, color) {
  const radius = SHARE * Math.max(stage.width, stage.height) * stage.scale;
  context.lineJoin = 'round';
  context.lineCap = 'round';
  if (hint.click) drawSign(context, stage.toScreen(...hint.click), radius, hint, color);
  if (hint.stroke) drawStroke(context, stage, hint, color, radius);
  if (hint.box) drawBox(context, stage, hint, color);
}

/** A disc with a plus or a minus. */
function drawSign(context, { x, y }, radius, hint, color) {
  const size = Math.max(SMALLEST, radius);
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  twice(context, 1.5);
  const arm = Math.min(6, size / 2);
  context.beginPath();
  context.moveTo(x - arm, y);
  context.lineTo(x + arm, y);
  if (isObject(hint)) {
    context.moveTo(x, y - arm);
    context.lineTo(x, y + arm);
  }
  context.lineWidth = 2.5;
  context.strokeStyle = DARK;
  context.stroke();
}

function drawStroke(context, stage, hint, color, radius) {
  const points = hint.stroke.map(([x, y]) => stage.toScreen(x, y));
  context.beginPath();
  for (const { x, y } of points) context.lineTo(x, y);
  context.globalAlpha = 0.6;
  context.strokeStyle = color;
  context.lineWidth = Math.max(4, 2 * radius);
  context.stroke();
  context.globalAlpha = 1;
  drawSign(context, points[0], SMALLEST, hint, color);
}

function drawBox(context, stage, hint, color) {
  const [left, top, right, bottom] = hint.box;
  const corner = stage.toScreen(left, top);
  context.beginPath();
  context.rect(corner.x, corner.y, (right - left) * stage.scale, (bottom - top) * stage.scale);
  context.setLineDash([7, 5]);
  twice(context, 2, color);
  context.setLineDash([]);
  drawSign(context, corner, SMALLEST, hint, color);
}

export function drawCrosshair(context, { x, y }) {
  context.beginPath();
  for (const [across, down] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ]) {
    context.moveTo(x + 4 * across, y + 4 * down);
    context.lineTo(x + 18 * across, y + 18 * down);
  }
  twice(context, 2, LIGHT);
}

/** Stroke the path light upon dark, so that it shows on any photo. */
function twice(context, width, color = LIGHT) {
  context.lineWidth = width + 2;
  context.strokeStyle = DARK;
  context.stroke();
  context.lineWidth = width;
  context.strokeStyle = color;
  context.stroke();
}
