// All heads as a table: filter by role, state, name and a smallest value, rank by any column, take it along.
const root = element.querySelector('.ha-finder-panel');
// The column that ranks, by name, as the measure of the first one may change; "" is the table's own order.
let sort = '';
let down = true;
let state = { text: '', role: '', column: '', limit: '', way: 'least' };
let serial = null;
let first = '';
let waiting = null;
const at = (name) => props.value.columns.findIndex((c) => c.name === name);
// The address is the server's to write, and it says what the table is filtered by. Words are typed letter by letter.
const tell = (pause) => {
  clearTimeout(waiting);
  waiting = setTimeout(() => 'columns' in props.value && trigger('filter', { text: state.text, role: state.role, column: state.column, way: state.way, limit: state.limit === '' || Number.isNaN(Number(state.limit)) ? '' : String(Number(state.limit)), sort: sort || (down ? '' : props.value.columns[props.value.rank].name), down }), pause);
};
const ranked = () => { const i = at(sort); return i < 0 ? props.value.rank : i; };
const found = () => {
  const value = props.value, words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = value.rows.filter((row) => {
    if (state.role === value.none ? row.held.length : state.role && !row.held.includes(state.role)) return false;
    if (words.length && !words.every((w) => row.cells.slice(0, 2).some((c) => c.text.toLowerCase().includes(w)))) return false;
    if (state.column !== '' && state.limit !== '') {
      const x = row.cells[at(state.column)].sort, limit = Number(state.limit);
      if (x === null || x === undefined || Number.isNaN(limit) || (state.way === 'least' ? x < limit : x > limit)) return false;
    }
    return true;
  });
  return inOrder(rows, ranked(), down);
};
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  // What an address asks is done once: what a visitor changes afterwards stays.
  if (value.asked && value.asked.serial !== serial) {
    const { serial: latest, sort: by, down: way, ...fields } = value.asked;
    [serial, sort, down, state] = [latest, by, way, fields];
    clearTimeout(waiting);
  }
  if (at(sort) < 0) sort = '';
  // Upside down by the first column, which is another measure now: the address is to name it.
  if (first && first !== value.columns[value.rank].name && !sort && !down) tell(0);
  first = value.columns[value.rank].name;
  const count = el('p', { class: 'ha-grid-info', 'aria-live': 'polite' });
  const body = el('tbody', {});
  const heads = value.columns.map((c, i) => el('th', { scope: 'col' }, el('button', { type: 'button', on: { click: () => { down = ranked() === i ? !down : true; sort = i === value.rank ? '' : c.name; fill(); tell(0); } } }, c.label)));
  const fill = () => {
    const rows = found(), chosen = selectedHead.get();
    heads.forEach((h, i) => h.setAttribute('aria-sort', ranked() === i ? (down ? 'descending' : 'ascending') : 'none'));
    body.replaceChildren(...rows.slice(0, MOST_ROWS).map((row) => el('tr', { class: isHead(row.at, chosen) ? 'is-selected' : '' }, row.cells.map((cell, i) => (i === 0
      ? el('th', { scope: 'row' }, el('button', { type: 'button', class: 'ha-link', 'aria-pressed': String(isHead(row.at, chosen)), on: { click: () => choose(row.at) } }, cell.text))
      : el('td', { class: value.columns[i].number ? 'ha-num' : '', title: cell.title }, cell.text))))));
    const cut = rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} are shown` : '';
    count.textContent = `${rows.length} of ${value.rows.length} heads${cut}. ${value.rule}. ${value.note}`;
  };
  const choose = (at) => { props.value = { ...props.value, selected: at }; selectedHead.set(at); trigger('select', { index: at, value: null }); };
  const field = (label, node) => el('label', {}, el('span', {}, label), node);
  const input = (name, kind, attributes = {}) => { const node = el('input', { type: kind, ...attributes, on: { input: () => { state[name] = node.value; fill(); tell(700); } } }); node.value = state[name]; return node; };
  const select = (name, options) => {
    const node = el('select', { on: { change: () => { state[name] = node.value; fill(); tell(0); } } }, options.map(([text, v]) => el('option', { value: v }, text)));
    node.value = state[name];
    if (node.selectedIndex < 0) { state[name] = ''; node.value = ''; }
    return node;
  };
  const numeric = value.columns.map((c) => [c.label, c.name, c.number]).filter((c) => c[2]);
  root.replaceChildren(
    el('div', { class: 'ha-filters' },
      field('Search', input('text', 'search', { placeholder: 'L1H3, induction …', maxlength: 80 })),
      field('Role or state', select('role', [['any', ''], ['none held', value.none], ...value.filters.map((f) => [f.label, f.name])])),
      field('Where', select('column', [['any value', ''], ...numeric])),
      field('is', select('way', [['at least', 'least'], ['at most', 'most']])),
      field('this', input('limit', 'number', { step: 'any' })),
      saveMenu(value.title, { about: value.about, table: () => {
        const said = { text: state.text, role: state.role, where: state.column && state.limit !== '' ? `${state.column} ${state.way === 'least' ? '>=' : '<='} ${state.limit}` : '' };
        return { about: { ...value.about, ...Object.fromEntries(Object.entries(said).filter(([, v]) => v)), columns: Object.fromEntries(value.columns.filter((c) => c.number).map((c) => [c.name, [c.label, c.unit].filter(Boolean).join(', ')])) },
          columns: value.columns.map((c) => c.name), rows: found().map((row) => row.cells.map((cell, i) => (value.columns[i].number ? cell.sort : cell.text))) };
      } })),
    el('div', { class: 'ha-scroll ha-heads-table', tabindex: '0', role: 'region', 'aria-label': value.title }, el('table', {}, el('thead', {}, el('tr', {}, heads)), body)), count);
  fill();
  root.haFill = fill;
};
// The selection may be told before this is drawn again for another model, whose table is not open.
selectedHead.follow(root, () => { if (root.haFill && root.querySelector('table') && 'rows' in props.value) root.haFill(); });
// Gradio's menus report a choice when the focus leaves them, and the answer is what is shown already: drawn again it would
// take the focus away from whoever goes on into the table.
let shown = null;
const redraw = () => {
  const next = JSON.stringify({ ...props.value, selected: null });
  if (next === shown) return;
  shown = next;
  draw();
};
watch('value', redraw);
redraw();
