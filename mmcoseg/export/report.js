'use strict';
(() => {
  const at = (id) => document.getElementById(id);
  const sections = [...document.querySelectorAll('section.group')];
  const cards = [...document.querySelectorAll('.card')];
  const controls = ['sort', 'group', 'show', 'min', 'find'].map(at).filter(Boolean);
  const defaults = Object.fromEntries(controls.map((control) => [control.id, control.value]));
  const collator = new Intl.Collator(undefined, { numeric: true });

  // What is not known is last, whichever way it is sorted.
  const number = (card, key, sign) => (key in card.dataset ? sign * card.dataset[key] : Infinity);
  const byName = (a, b) => collator.compare(a.dataset.name, b.dataset.name);
  const by = (key, sign) => (a, b) => {
    const [x, y] = [number(a, key, sign), number(b, key, sign)];
    return x === y ? byName(a, b) : x - y;
  };
  const orders = {
    name: byName,
    sureness: by('sureness', 1),
    presence: by('presence', -1),
    '-presence': by('presence', 1),
    area: by('area', -1),
    '-area': by('area', 1),
  };
  const kinds = {
    '': () => true,
    present: (card) => !('absent' in card.dataset),
    absent: (card) => 'absent' in card.dataset,
    warned: (card) => 'warned' in card.dataset,
  };
  const value = (id) => (at(id) ? at(id).value : '');

  let sorted = null;
  function update() {
    const least = Number(value('min'));
    const text = value('find').toLowerCase();
    const kind = kinds[value('show')];
    let count = 0;
    for (const section of sections) {
      const list = section.querySelector('.cards');
      if (sorted !== value('sort')) {
        list.append(...[...list.children].sort(orders[value('sort')]));
      }
      let inside = 0;
      const chosen = !value('group') || value('group') === section.id;
      for (const card of list.children) {
        const presence = 'presence' in card.dataset ? Number(card.dataset.presence) : 1;
        const found = card.dataset.name.toLowerCase().includes(text);
        card.hidden = !(chosen && kind(card) && found && presence >= least);
        inside += !card.hidden;
      }
      section.hidden = !inside && !(chosen && !list.children.length);
      count += inside;
    }
    sorted = value('sort');
    if (at('min-text')) at('min-text').textContent = least.toFixed(2);
    at('count').textContent = `${count} of ${cards.length} images`;
  }

  // The choices stand in the address, so that they can be kept and passed on.
  function write() {
    const state = new URLSearchParams();
    for (const { id, value: now } of controls) if (now !== defaults[id]) state.set(id, now);
    history.replaceState(null, '', state.size ? `#${state}` : location.pathname);
  }
  function read() {
    const text = location.hash.slice(1);
    if (text && !text.includes('=')) return; // a link to a group
    const state = new URLSearchParams(text);
    for (const control of controls) {
      const now = state.has(control.id) ? state.get(control.id) : defaults[control.id];
      control.value = now;
      // What is no choice here, such as a group of another report, changes nothing.
      if (control.type !== 'search' && control.value !== now) control.value = defaults[control.id];
    }
  }
  for (const control of controls) {
    control.addEventListener('input', () => {
      update();
      write();
    });
  }
  at('tools').addEventListener('submit', (event) => event.preventDefault());
  addEventListener('hashchange', () => {
    read();
    update();
  });
  read();
  update();
  at('tools').hidden = false;

  const viewer = at('viewer');
  const names = ['image', 'overlay', 'mask'];
  let current = null;
  let kind = 'overlay';
  const open = () => [...document.querySelectorAll('.card:not([hidden])')].filter((card) => card.querySelector('img'));

  function view(card) {
    if (!card) return;
    current = card;
    const picture = at('viewer-picture');
    picture.src = card.querySelector(`img[data-kind="${kind}"]`).src;
    picture.alt = `${kind} of ${card.dataset.name}`;
    const figures = [...card.querySelectorAll('.figures span')].map((span) => span.textContent);
    at('viewer-name').textContent = [card.dataset.name, ...figures].join(' · ');
    const all = open();
    at('viewer-place').textContent = `${all.indexOf(card) + 1} of ${all.length}`;
    const file = card.querySelector('.pictures').getAttribute('href');
    at('viewer-file').hidden = !file;
    if (file) at('viewer-file').href = file;
    for (const button of viewer.querySelectorAll('button[data-kind]')) {
      button.setAttribute('aria-pressed', button.dataset.kind === kind);
    }
    if (!viewer.open) viewer.showModal();
  }
  function step(by) {
    const all = open();
    view(all[(all.indexOf(current) + by + all.length) % all.length]);
  }
  // At once, not upon the event of closing: that comes later and would undo the next key's focus.
  function leave() {
    const card = current;
    current = null;
    viewer.close();
    card.querySelector('.pictures').focus();
  }
  function turn(by) {
    kind = names[(names.indexOf(kind) + by + names.length) % names.length];
    view(current);
  }

  for (const link of document.querySelectorAll('.pictures')) {
    if (!link.hasAttribute('href')) link.tabIndex = 0;
    link.setAttribute('role', 'button');
  }
  document.addEventListener('click', (event) => {
    const link = event.target.closest('.pictures');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    kind = event.target.dataset.kind || 'overlay';
    view(link.closest('.card'));
  });
  document.addEventListener('keydown', (event) => {
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (viewer.open) {
      const upright = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (sideways) step(sideways);
      if (upright) turn(upright);
      if (event.key === 'Escape') leave();
      if (sideways || upright || event.key === 'Escape') event.preventDefault();
      return;
    }
    const link = event.target.closest('.pictures');
    if (!link) return;
    if (sideways) {
      const all = open();
      const next = all[all.indexOf(link.closest('.card')) + sideways];
      if (next) next.querySelector('.pictures').focus();
      event.preventDefault();
    } else if (event.key === 'Enter' || event.key === ' ') {
      kind = 'overlay';
      view(link.closest('.card'));
      event.preventDefault();
    }
  });
  for (const button of viewer.querySelectorAll('button[data-kind]')) {
    button.addEventListener('click', () => {
      kind = button.dataset.kind;
      view(current);
    });
  }
  at('previous').addEventListener('click', () => step(-1));
  at('next').addEventListener('click', () => step(1));
  at('close').addEventListener('click', leave);

  // A swipe is a finger that goes sideways. What goes up or down scrolls, two fingers zoom: the
  // browser does these and cancels the pointer. A zoomed picture is moved by one finger.
  const zoomed = () => (window.visualViewport ? visualViewport.scale > 1.01 : false);
  let touch = null;
  at('viewer-picture').addEventListener('pointerdown', (event) => {
    touch = event.pointerType !== 'mouse' && event.isPrimary && !zoomed() ? event : null;
  });
  at('viewer-picture').addEventListener('pointercancel', () => {
    touch = null;
  });
  at('viewer-picture').addEventListener('pointerup', (event) => {
    if (!touch || event.pointerId !== touch.pointerId) return;
    const [x, y] = [event.clientX - touch.clientX, event.clientY - touch.clientY];
    touch = null;
    if (Math.abs(x) > 40 && Math.abs(x) > 2 * Math.abs(y)) step(x < 0 ? 1 : -1);
  });
  if (window.visualViewport) {
    visualViewport.addEventListener('resize', () => viewer.classList.toggle('zoomed', zoomed()));
  }
  viewer.addEventListener('close', () => {
    if (current && !viewer.open) leave(); // closed by other means than ours, such as a gesture
  });
})();
