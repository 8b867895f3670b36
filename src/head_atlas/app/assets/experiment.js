// One prediction under several conditions: the prompt, then a bar per condition; more questions where there are any.
const root = element.querySelector('.ha-experiment-panel');
const group = ({ question, rows }) => [
  el('p', { class: 'ha-question' }, question),
  el('div', { class: 'ha-conditions', role: 'table', 'aria-label': question },
    rows.map((row) => el('div', { role: 'row', class: `ha-condition kind-${row.kind}` },
      el('span', { role: 'rowheader' }, row.label),
      el('span', { role: 'cell', class: 'ha-cbar', 'aria-hidden': 'true' }, el('i', { vars: { '--w': row.w } })),
      el('span', { role: 'cell', class: 'ha-num' }, row.text),
      el('span', { role: 'cell', class: 'ha-says' }, row.says))))];
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(
    value.title ? el('h3', { class: 'ha-title' }, value.title) : '',
    value.lead ? el('p', { class: 'ha-lead' }, value.lead) : '',
    value.tokens.length ? el('p', { class: 'ha-prompt' }, value.tokens.map((t) => el('span', {}, t)), value.then === false ? null : el('span', { class: 'ha-next' }, '?')) : '',
    ...[value, ...(value.more || [])].flatMap(group),
    // What a bar is of differs from question to question; its text is the number with its unit.
    value.about ? saveMenu(value.title || value.question, { figure: () => root, about: value.about, table: () => ({
      columns: ['question', 'condition', 'kind', 'measured', 'says', 'bar_length'],
      rows: [value, ...(value.more || [])].flatMap((g) => g.rows.map((r) => [g.question, r.label, r.kind, r.text, r.says, r.w])) }) }) : '',
    value.verdict ? el('p', { class: 'ha-verdict' + (value.held === true ? ' is-held' : value.held === false ? ' is-not' : '') }, value.verdict) : '');
};
watch('value', draw);
draw();
