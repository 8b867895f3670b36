// The grid of heads: layers down, heads across. One click or Enter selects a head.
const root = element.querySelector('.ha-grid-panel');
let cells = [];
let shape = '';
let active = [0, 0];
let info = null;
let board = null;
let saving = null;
// What the visitor marked. A click shows at once, and the server's answers may come late: marks that an answer does
// not name stay, and the clicks that its `removed` does not include yet, those after `clicked`, are made again.
let clicks = [];
let named = [];
let included = 0;
const marks = { selected: null, removed: [] };
const flip = (list, k) => (list.includes(k) ? list.filter((x) => x !== k) : [...list, k]);
const keep = () => {
  const value = props.value || {};
  if ('selected' in value) marks.selected = value.selected;
  if (value.shared) { selectedHead.set(marks.selected); shownMeasure.set(value.shows); }
  if ('removed' in value) { named = value.removed; included = value.clicked ?? clicks.length; }
  marks.removed = clicks.slice(included).reduce(flip, named);
  const whole = value.clicks && value.clicks.length === clicks.length && value.clicked === included && 'selected' in value && 'removed' in value;
  if (!('empty' in value) && !whole) tell();
};
// The server reads the marks from here, so that it always has the latest.
const tell = () => { props.value = { ...props.value, selected: marks.selected, removed: named, clicked: included, clicks }; };
const key = (l, h) => `${l}.${h}`;
const describe = (value, l, h) => {
  const name = `L${l}H${h}`;
  const text = value.text && value.text[l][h];
  const removed = marks.removed.includes(key(l, h)) ? ' · removed' : '';
  return text ? `${name} · ${value.label ? value.label + ' ' : ''}${text}${removed}` : `${name}${removed}`;
};
const show = (l, h) => { if (info) info.textContent = describe(props.value, l, h); };
const rest = () => {
  if (!info) return;
  const s = marks.selected;
  info.textContent = s ? describe(props.value, s[0], s[1]) : (props.value.hint || '');
};
const focusCell = (l, h) => {
  const n = cells.length, m = cells[0].length;
  active = [Math.max(0, Math.min(n - 1, l)), Math.max(0, Math.min(m - 1, h))];
  cells.flat().forEach((c) => c.setAttribute('tabindex', '-1'));
  const cell = cells[active[0]][active[1]];
  cell.setAttribute('tabindex', '0');
  cell.focus();
};
const choose = (l, h) => {
  if (props.value.toggle) clicks = [...clicks, key(l, h)];
  else marks.selected = [l, h];
  tell();
  if (props.value.shared) selectedHead.set([l, h]);
  // An answer that equals what is here would be dropped, so draw now.
  draw();
  trigger('select', { index: [l, h], value: null });
};
const build = (value) => {
  const { n_layers: n, n_heads: m } = value;
  board = el('div', { role: 'grid', class: 'ha-grid', 'aria-rowcount': n + 1, 'aria-colcount': m + 1, vars: { '--heads': m } });
  const head = el('div', { role: 'row', class: 'ha-row' }, el('span', { role: 'columnheader', class: 'ha-corner' }, el('span', { class: 'ha-sr' }, 'layer')));
  for (let h = 0; h < m; h++) head.append(el('span', { role: 'columnheader', class: 'ha-axis' }, m <= 8 ? `H${h}` : `${h}`));
  board.append(head);
  cells = [];
  for (let l = 0; l < n; l++) {
    const row = el('div', { role: 'row', class: 'ha-row' }, el('span', { role: 'rowheader', class: 'ha-axis ha-axis-layer' }, `L${l}`));
    cells.push([]);
    for (let h = 0; h < m; h++) {
      const cell = el('div', { role: 'gridcell', tabindex: '-1', class: 'ha-cell', 'data-l': l, 'data-h': h });
      cells[l].push(cell);
      row.append(cell);
    }
    board.append(row);
  }
  board.classList.toggle('ha-grid-wide', m > 8);
  board.classList.toggle('ha-grid-dense', m > 16);
  board.classList.toggle('ha-grid-small', !!value.small);
  info = el('p', { class: 'ha-grid-info' });
  root.replaceChildren(
    el('div', { class: 'ha-scroll' }, board),
    el('div', { class: 'ha-grid-foot' }, el('div', { class: 'ha-legend-slot' }), info),
    el('div', { class: 'ha-save-slot' }));
  saving = null;
};
const draw = () => {
  keep();
  const value = props.value;
  if (!value || 'empty' in value) { cells = []; shape = ''; root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const next = `${value.n_layers}x${value.n_heads}${value.small ? 's' : ''}`;
  if (next !== shape) { shape = next; build(value); active = marks.selected || [0, 0]; }
  board.setAttribute('aria-label', value.title || 'attention heads');
  const scale = value.scale;
  for (let l = 0; l < value.n_layers; l++) for (let h = 0; h < value.n_heads; h++) {
    const cell = cells[l][h];
    const t = value.t ? value.t[l][h] : 0;
    paint(cell, t, scale && scale.signed);
    const chosen = marks.selected && marks.selected[0] === l && marks.selected[1] === h;
    const removed = marks.removed.includes(key(l, h));
    cell.classList.toggle('is-selected', !!chosen);
    cell.classList.toggle('is-removed', removed);
    cell.classList.toggle('is-faint', !!(value.faint && value.faint[l][h]));
    cell.setAttribute('aria-selected', String(value.toggle ? removed : !!chosen));
    // What is read in a cell is said first; the whole number, with its interval, describes it.
    const seen = (value.short && value.short[l][h]) || '', whole = describe(value, l, h);
    cell.setAttribute('aria-label', seen ? `L${l}H${h} · ${seen}${removed ? ' · removed' : ''}` : whole);
    cell.setAttribute('aria-description', seen ? whole : '');
    cell.title = (t === null && value.reason) || '';
    if (cell.textContent !== seen) cell.textContent = seen;
    cell.setAttribute('tabindex', active[0] === l && active[1] === h ? '0' : '-1');
  }
  board.classList.toggle('is-toggle', !!value.toggle);
  const slot = root.querySelector('.ha-legend-slot');
  slot.replaceChildren(...(scale ? [legend(scale)] : []), value.rule ? el('span', { class: 'ha-rule' }, value.rule) : '');
  // A click on a head changes no number, and takes the menu from nobody who has it open.
  const offered = value.saved ? JSON.stringify([value.title, value.label, value.saved]) : '';
  if (offered !== saving) {
    saving = offered;
    root.querySelector('.ha-save-slot').replaceChildren(value.saved ? saveMenu(value.toggle ? `Heads by ${value.label}` : value.title, {
      figure: () => root, about: value.saved.about, table: () => value.saved }) : '');
  }
  if (!root.contains(document.activeElement) || document.activeElement === document.body) rest();
  else show(...active);
};
const at = (event) => {
  const cell = event.target.closest('.ha-cell');
  return cell ? [+cell.dataset.l, +cell.dataset.h] : null;
};
root.addEventListener('click', (e) => { const p = at(e); if (p) { focusCell(...p); choose(...p); } });
root.addEventListener('pointerover', (e) => { const p = at(e); if (p) show(...p); });
root.addEventListener('pointerleave', () => { if (cells.length) rest(); });
root.addEventListener('focusin', (e) => { const p = at(e); if (p) { active = p; show(...p); } });
root.addEventListener('focusout', () => { if (cells.length) rest(); });
root.addEventListener('keydown', (e) => {
  const p = at(e);
  if (!p) return;
  const [l, h] = p, m = cells[0].length - 1, n = cells.length - 1;
  const go = {
    ArrowUp: [l - 1, h], ArrowDown: [l + 1, h], ArrowLeft: [l, h - 1], ArrowRight: [l, h + 1],
    Home: e.ctrlKey ? [0, 0] : [l, 0], End: e.ctrlKey ? [n, m] : [l, m], PageUp: [0, h], PageDown: [n, h],
  }[e.key];
  if (go) { e.preventDefault(); focusCell(...go); }
  else if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); choose(l, h); }
});
selectedHead.follow(root, () => {
  if (!cells.length || !props.value.shared || String(marks.selected) === String(selectedHead.get())) return;
  marks.selected = selectedHead.get();
  tell();
  draw();
});
watch('value', draw);
draw();
