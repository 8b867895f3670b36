// All heads as a table: filter by role, state, name and a smallest value, rank by any column, take it along.
const root = element.querySelector('.ha-finder-panel');
const MOST = 300;
let rank = null;
let state = { text: '', role: '', column: '', least: '', way: 'least' };
const download = (name, kind, text) => {
  const url = URL.createObjectURL(new Blob([text], { type: kind }));
  const link = el('a', { href: url, download: name });
  root.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};
// A cell that begins like a formula would run in a spreadsheet.
const csvCell = (x) => { const t = x === null || x === undefined ? '' : String(x); const safe = typeof x === 'string' && /^[=+\-@\t\r]/.test(t) ? `'${t}` : t; return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe; };
const records = (rows) => rows.map((row) => Object.fromEntries(props.value.columns.map((c, i) => [c.label, c.number ? row.cells[i].sort : row.cells[i].text])));
const found = () => {
  const value = props.value, words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  let rows = value.rows.filter((row) => {
    if (state.role === '-' ? row.held.length : state.role && !row.held.includes(state.role)) return false;
    if (words.length && !words.every((w) => row.cells.slice(0, 2).some((c) => c.text.toLowerCase().includes(w)))) return false;
    if (state.column !== '' && state.least !== '') {
      const x = row.cells[+state.column] && row.cells[+state.column].sort, limit = Number(state.least);
      if (x === null || x === undefined || Number.isNaN(limit) || (state.way === 'least' ? x < limit : x > limit)) return false;
    }
    return true;
  });
  const [column, down] = rank;
  const key = (row) => row.cells[column].sort;
  rows = [...rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if (x === null || y === null) return (x === null) - (y === null);
    return down ? y - x : x - y;
  });
  return rows;
};
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  if (!rank || rank[0] >= value.columns.length) rank = [value.rank, true];
  const count = el('p', { class: 'ha-grid-info', 'aria-live': 'polite' });
  const body = el('tbody', {});
  const heads = value.columns.map((c, i) => el('th', { scope: 'col' }, el('button', { type: 'button', on: { click: () => { rank = [i, rank[0] === i ? !rank[1] : true]; fill(); } } }, c.label)));
  const fill = () => {
    const rows = found(), chosen = selectedHead.get();
    heads.forEach((h, i) => h.setAttribute('aria-sort', rank[0] === i ? (rank[1] ? 'descending' : 'ascending') : 'none'));
    body.replaceChildren(...rows.slice(0, MOST).map((row) => el('tr', { class: isHead(row.at, chosen) ? 'is-selected' : '' }, row.cells.map((cell, i) => (i === 0
      ? el('th', { scope: 'row' }, el('button', { type: 'button', class: 'ha-link', 'aria-pressed': String(isHead(row.at, chosen)), on: { click: () => choose(row.at) } }, cell.text))
      : el('td', { class: value.columns[i].number ? 'ha-num' : '', title: cell.title }, cell.text))))));
    const cut = rows.length > MOST ? `, the first ${MOST} are shown` : '';
    count.textContent = `${rows.length} of ${value.rows.length} heads${cut}. ${value.rule}. ${value.note}`;
  };
  const choose = (at) => { props.value = { ...props.value, selected: at }; selectedHead.set(at); trigger('select', { index: at, value: null }); };
  const field = (label, node) => el('label', {}, el('span', {}, label), node);
  const input = (name, kind, attributes = {}) => { const node = el('input', { type: kind, ...attributes, on: { input: () => { state[name] = node.value; fill(); } } }); node.value = state[name]; return node; };
  const select = (name, options) => {
    const node = el('select', { on: { change: () => { state[name] = node.value; fill(); } } }, options.map(([text, v]) => el('option', { value: v }, text)));
    node.value = state[name];
    if (node.selectedIndex < 0) { state[name] = ''; node.value = ''; }
    return node;
  };
  const numeric = value.columns.map((c, i) => [c.label, String(i), c.number]).filter((c) => c[2]);
  root.replaceChildren(
    el('div', { class: 'ha-filters' },
      field('Search', input('text', 'search', { placeholder: 'L1H3, induction …', maxlength: 80 })),
      field('Role or state', select('role', [['any', ''], ['none held', '-'], ...value.filters.map((f) => [f.label, f.name])])),
      field('Where', select('column', [['any value', ''], ...numeric])),
      field('is', select('way', [['at least', 'least'], ['at most', 'most']])),
      field('this', input('least', 'number', { step: 'any' })),
      el('div', { class: 'ha-takes' },
        el('button', { type: 'button', class: 'ha-pick', on: { click: () => download(`${value.name}.csv`, 'text/csv', [value.columns.map((c) => csvCell(c.label)).join(','), ...records(found()).map((r) => Object.values(r).map(csvCell).join(','))].join('\r\n')) } }, 'CSV'),
        el('button', { type: 'button', class: 'ha-pick', on: { click: () => download(`${value.name}.json`, 'application/json', JSON.stringify({ title: value.title, heads: records(found()) }, null, 1)) } }, 'JSON'))),
    el('div', { class: 'ha-scroll ha-table', tabindex: '0', role: 'region', 'aria-label': value.title }, el('table', {}, el('thead', {}, el('tr', {}, heads)), body)), count);
  fill();
  root.haFill = fill;
};
selectedHead.follow(root, () => { if (root.haFill && root.querySelector('table')) root.haFill(); });
watch('value', draw);
draw();
