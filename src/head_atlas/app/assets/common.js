// Shared by every component: this text stands before each component's own script.
// Data reaches the page through `props.value` and text nodes only; nothing here parses HTML.
const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') node.className = value;
    else if (name === 'vars') Object.entries(value).forEach(([k, v]) => node.style.setProperty(k, v));
    else if (name === 'on') Object.entries(value).forEach(([k, f]) => node.addEventListener(k, f));
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
};
// Colour is a class and one number; the colours themselves are CSS variables, so a change of theme
// repaints nothing. `t` is in [0, 1], or in [-1, 1] where the scale is signed; null is "not measured".
const PAINT = ['paint-low', 'paint-high', 'paint-minus', 'paint-plus', 'paint-none'];
const paint = (node, t, signed) => {
  node.classList.remove(...PAINT);
  if (t === null || t === undefined) { node.classList.add('paint-none'); return; }
  const x = Math.max(signed ? -1 : 0, Math.min(1, t));
  if (signed) {
    node.classList.add(x < 0 ? 'paint-minus' : 'paint-plus');
    node.style.setProperty('--t', Math.abs(x).toFixed(3));
  } else {
    node.classList.add(x < 0.5 ? 'paint-low' : 'paint-high');
    node.style.setProperty('--t', (x < 0.5 ? x * 2 : x * 2 - 1).toFixed(3));
  }
};
const emptyNote = (text) => (text ? el('p', { class: 'ha-empty' }, text) : '');
const legend = (scale) => el('div', { class: 'ha-legend' },
  el('span', {}, scale.low_text),
  el('i', { class: scale.signed ? 'ha-ramp ha-ramp-signed' : 'ha-ramp', 'aria-hidden': 'true' }),
  el('span', {}, scale.high_text),
  scale.unit ? el('span', { class: 'ha-unit' }, scale.unit) : null);
// A text as the server cuts it: plain pieces, and words of the glossary. Such a word is a button; its meaning opens beside
// it, by mouse, touch or keyboard, and closes with Escape or a click elsewhere. It is made when first asked for.
const term = (word) => {
  const button = el('button', { type: 'button', class: 'ha-term', 'aria-haspopup': 'true', 'aria-expanded': 'false' }, word.text);
  const place = (note) => {
    const at = button.getBoundingClientRect(), box = note.getBoundingClientRect();
    const below = at.bottom + 6 + box.height < window.innerHeight;
    note.style.left = `${Math.max(8, Math.min(at.left, window.innerWidth - box.width - 8))}px`;
    note.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - 6 - box.height)}px`;
  };
  button.addEventListener('click', () => {
    if (button.popoverTargetElement) return;
    const note = el('span', { popover: 'auto', class: 'ha-meaning', role: 'note' }, el('strong', {}, word.term), `: ${word.meaning}`);
    note.addEventListener('toggle', (e) => {
      button.setAttribute('aria-expanded', String(e.newState === 'open'));
      if (e.newState === 'open') place(note);
    });
    button.after(note);
    // The click's own default then opens it, as it does and undoes later.
    button.popoverTargetElement = note;
  });
  return button;
};
const rich = (parts) => (Array.isArray(parts) ? parts : [parts]).map((part) => (typeof part === 'string' ? part : term(part)));
// One head is selected on the Atlas tab. Its views tell each other through the document, so that a click shows at once
// in all of them; a view that is drawn later asks here.
const selectedHead = {
  get: () => document.documentElement.haHead || null,
  set: (pair) => {
    if (String(pair) === String(selectedHead.get())) return;
    document.documentElement.haHead = pair;
    document.dispatchEvent(new CustomEvent('ha-head'));
  },
  follow: (root, show) => {
    const listen = () => { if (root.isConnected) show(); else document.removeEventListener('ha-head', listen); };
    document.addEventListener('ha-head', listen);
  },
};
const isHead = (at, pair) => !!pair && at[0] === pair[0] && at[1] === pair[1];
// The button of one figure's or table's "Save" menu; the menu itself, and all that it makes, stands once in saving.js.
const saveMenu = (title, what) => {
  const opener = el('button', { type: 'button', class: 'ha-save', 'aria-haspopup': 'true', 'aria-expanded': 'false', 'aria-label': `Save: ${title}`, on: { click: () => window.haSave(opener, title, what) } }, 'Save');
  return el('div', { class: 'ha-saving' }, opener);
};
