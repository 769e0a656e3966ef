// Small helpers for the document.

export const at = (id) => document.getElementById(id);

/** An element with properties (`class`, `data-...` and `aria-...` as attributes) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** One of the icons of index.html. */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const picture = document.createElementNS(space, 'svg');
  const use = document.createElementNS(space, 'use');
  picture.setAttribute('class', `icon ${name}`);
  picture.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#i-${name}`);
  picture.append(use);
  return picture;
}

/** "1 image", "2 images". */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** Calls `act` once, `delay` milliseconds after the last of several calls. */
export function settled(act, delay) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, delay);
  };
}
