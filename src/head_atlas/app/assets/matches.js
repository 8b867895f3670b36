// Sentences with links into the page, and a table that any column ranks: heads of two models beside each other.
const root = element.querySelector('.ha-matches-panel');
let rank = null, words = '';
// A real link, which the page opens without being loaded again: the address changes as if one had gone there and back.
const link = (text, query) => el('a', { class: 'ha-link', href: `?${query}`, on: { click: (e) => {
  if (e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  const theirs = [...new URLSearchParams(window.location.search)].filter(([k]) => k.startsWith('__'));
  history.pushState(null, '', `${window.location.pathname}?${[query, new URLSearchParams(theirs).toString()].filter(Boolean).join('&')}`);
  window.dispatchEvent(new PopStateEvent('popstate'));
  window.scrollTo(0, 0);
} } }, text);
const cellOf = (cell, i, column) => el(i ? 'td' : 'th', { scope: i ? null : 'row', class: column.number ? 'ha-num' : '', title: cell.title || null },
  cell.query ? link(cell.text, cell.query) : cell.text);
const ranked = (value) => {
  const [column, down] = rank, wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return inOrder(value.rows.filter((row) => wanted.every((w) => row.cells.some((c) => c.text.toLowerCase().includes(w)))), column, down);
};
const table = (value) => {
  if (!rank || rank[0] >= value.columns.length) rank = [value.rank, true];
  const body = el('tbody', {}), count = el('p', { class: 'ha-grid-info', 'aria-live': 'polite' });
  const heads = value.columns.map((c, i) => el('th', { scope: 'col' }, el('button', { type: 'button', on: { click: () => { rank = [i, rank[0] === i ? !rank[1] : true]; fill(); } } }, c.label)));
  const fill = () => {
    const rows = ranked(value);
    heads.forEach((h, i) => h.setAttribute('aria-sort', rank[0] === i ? (rank[1] ? 'descending' : 'ascending') : 'none'));
    body.replaceChildren(...rows.slice(0, MOST_ROWS).map((row) => el('tr', {}, row.cells.map((cell, i) => cellOf(cell, i, value.columns[i])))));
    count.textContent = `${rows.length} of ${value.rows.length} rows${rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} are shown` : ''}. ${value.note}`;
  };
  const search = el('input', { type: 'search', placeholder: 'L1H3, induction …', maxlength: 80, on: { input: () => { words = search.value; fill(); } } });
  search.value = words;
  fill();
  const saved = () => ({ columns: value.columns.flatMap((c) => c.saved), rows: ranked(value).map((row) => row.cells.flatMap((cell) => cell.saved)) });
  return [el('div', { class: 'ha-filters' }, el('label', {}, el('span', {}, 'Search'), search), saveMenu(value.title, { about: value.about, table: saved })),
    el('div', { class: 'ha-scroll ha-heads-table', tabindex: '0', role: 'region', 'aria-label': value.title }, el('table', {}, el('thead', {}, el('tr', {}, heads)), body)), count];
};
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(
    value.headline ? el('p', { class: 'ha-headline' }, value.headline) : '',
    value.links ? el('p', { class: 'ha-lead' }, value.links.map((l) => link(l.text, l.query))) : '',
    ...(value.columns ? table(value) : []));
};
watch('value', draw);
draw();
