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
const svg = (tag, attributes, ...children) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  Object.entries(attributes).forEach(([k, v]) => { if (v !== null && v !== undefined) node.setAttribute(k, v); });
  node.append(...children);
  return node;
};
const emptyNote = (text) => (text ? el('p', { class: 'ha-empty' }, text) : '');
const legend = (scale) => el('div', { class: 'ha-legend' },
  el('span', {}, scale.low_text),
  el('i', { class: scale.signed ? 'ha-ramp ha-ramp-signed' : 'ha-ramp', 'aria-hidden': 'true' }),
  el('span', {}, scale.high_text),
  scale.unit ? el('span', { class: 'ha-unit' }, scale.unit) : null);
// A text as the server cuts it: plain pieces, and words of the glossary. Such a word is a button; its meaning opens beside
// it, by mouse, touch or keyboard, and closes with Escape or a click elsewhere. It is made when first asked for.
const placeBeside = (note, node) => {
  const at = node.getBoundingClientRect(), box = note.getBoundingClientRect();
  const below = at.bottom + 6 + box.height < window.innerHeight;
  note.style.left = `${Math.max(8, Math.min(at.left, window.innerWidth - box.width - 8))}px`;
  note.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - 6 - box.height)}px`;
};
const term = (word) => {
  const button = el('button', { type: 'button', class: 'ha-term', 'aria-haspopup': 'true', 'aria-expanded': 'false' }, word.text);
  button.addEventListener('click', () => {
    if (button.popoverTargetElement) return;
    const note = el('span', { popover: 'auto', class: 'ha-meaning', role: 'note' }, el('strong', {}, word.term), `: ${word.meaning}`);
    note.addEventListener('toggle', (e) => {
      button.setAttribute('aria-expanded', String(e.newState === 'open'));
      if (e.newState === 'open') placeBeside(note, button);
    });
    button.after(note);
    // The click's own default then opens it, as it does and undoes later.
    button.popoverTargetElement = note;
  });
  return button;
};
// Single numbers; what each is opens beside its name.
const numberList = (list) => el('dl', { class: 'ha-stats' }, list.map((f) =>
  el('div', {}, el('dt', {}, f.sentence ? term({ text: f.label, term: f.label, meaning: f.sentence }) : f.label), el('dd', {}, f.text))));
// A comma or a full stop after a word that is a button stays on its line.
const AFTER_WORD = /^[,.;:)]+/;
const rich = (parts) => [parts].flat().map((part, i, all) => {
  if (typeof part === 'string') return i && typeof all[i - 1] !== 'string' ? part.replace(AFTER_WORD, '') : part;
  const mark = AFTER_WORD.exec(typeof all[i + 1] === 'string' ? all[i + 1] : '');
  return mark ? el('span', { class: 'ha-joined' }, term(part), mark[0]) : term(part);
});
// Rows that mean more than they show, as [node, sentence]. A mouse sees the sentence as a title. For the keyboard they are
// one stop of the Tab key, arrow keys go from row to row, and the sentence stands below the row that has the focus.
const explained = (rows) => {
  const said = rows.filter(([, sentence]) => sentence);
  const note = el('p', { popover: 'manual', class: 'ha-meaning', 'aria-hidden': 'true' });
  const nodes = said.map(([node]) => node);
  said.forEach(([node, sentence], i) => {
    node.title = sentence;
    node.setAttribute('aria-description', sentence);
    node.setAttribute('tabindex', i ? '-1' : '0');
    node.addEventListener('focus', () => {
      nodes.forEach((other) => other.setAttribute('tabindex', other === node ? '0' : '-1'));
      if (!node.matches(':focus-visible')) return;
      note.textContent = sentence;
      // Within the component: it goes away with the rows, also in browsers that send no blur for a row that is taken out.
      node.parentElement.after(note);
      note.showPopover();
      placeBeside(note, node);
    });
    node.addEventListener('blur', () => { if (note.isConnected) note.remove(); });
    node.addEventListener('keydown', (e) => {
      if (e.key === 'Escape' && note.isConnected) { e.stopPropagation(); note.remove(); return; }
      const j = { ArrowUp: i - 1, ArrowDown: i + 1, Home: 0, End: nodes.length - 1 }[e.key];
      if (j !== undefined && nodes[j]) { e.preventDefault(); nodes[j].focus(); }
    });
  });
  return rows.map(([node]) => node);
};
// One head is selected on the Atlas tab. Its views tell each other through the document, so that a click shows at once
// in all of them; a view that is drawn later asks here.
const shared = (name) => ({
  get: () => document.documentElement[name] || null,
  set: (value) => {
    if (String(value) === String(document.documentElement[name] || null)) return;
    document.documentElement[name] = value;
    document.dispatchEvent(new CustomEvent(name));
  },
  follow: (root, show) => {
    const listen = () => { if (root.isConnected) show(); else document.removeEventListener(name, listen); };
    document.addEventListener(name, listen);
  },
});
const selectedHead = shared('haHead');
const shownMeasure = shared('haMeasure');
// Of what is large the server sends JSON text.
const held = (value) => (typeof value === 'string' ? JSON.parse(value) : value);
const isHead = (at, pair) => !!pair && at[0] === pair[0] && at[1] === pair[1];
// The button of one figure's or table's "Save" menu; the menu itself, and all that it makes, stands once in saving.js.
const saveMenu = (title, what) => {
  const opener = el('button', { type: 'button', class: 'ha-save', 'aria-expanded': 'false', 'aria-label': `Save: ${title}`, on: { click: () => window.haSave(opener, title, what) } }, 'Save');
  return el('div', { class: 'ha-saving' }, opener);
};
// A table shows so many rows at once; the others are counted.
const MOST_ROWS = 300;
// Its rows by one of its columns; cells without a number come last either way.
const inOrder = (rows, column, down) => [...rows].sort((a, b) => {
  const x = a.cells[column].sort, y = b.cells[column].sort;
  if (x === null || y === null) return (x === null) - (y === null);
  return down ? y - x : x - y;
});
