// The next token, clean against ablated: one pair of bars per token.
const root = element.querySelector('.ha-dist-panel');
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const paired = value.paired;
  root.replaceChildren(
    value.headline ? el('p', { class: 'ha-headline' }, value.headline) : '',
    value.summary ? el('p', { class: 'ha-lead' }, value.summary) : '',
    el('div', { class: 'ha-dist-key', 'aria-hidden': 'true' }, el('span', { class: 'key-clean' }, 'clean'), paired ? el('span', { class: 'key-ablated' }, 'ablated') : null),
    el('div', { class: 'ha-dist', role: 'table', 'aria-label': 'probability of the next token' },
      value.rows.map((row) => el('div', { role: 'row', class: 'ha-dist-row' + (row.target ? ' is-target' : '') },
        el('span', { role: 'rowheader', class: 'ha-token', title: row.title }, row.token, row.target ? el('span', { class: 'ha-tag' }, row.target) : null),
        el('span', { role: 'cell', class: 'ha-pair', 'aria-hidden': 'true' },
          el('i', { class: 'bar-clean', vars: { '--w': row.clean } }),
          paired ? el('i', { class: 'bar-ablated', vars: { '--w': row.ablated } }) : null),
        el('span', { role: 'cell', class: 'ha-num' }, row.text),
        paired ? el('span', { role: 'cell', class: 'ha-num ha-change' }, row.change) : null))),
    saveMenu(value.headline || 'The next token', { figure: () => root, about: value.about, table: () => ({
      columns: ['token', 'token_id', 'mark', 'clean', ...(paired ? ['ablated'] : [])],
      rows: value.rows.map((r) => [r.token, r.title.replace('token ', ''), r.target, r.clean, ...(paired ? [r.ablated] : [])]) }) }),
    value.facts ? el('dl', { class: 'ha-stats' }, value.facts.map((f) => el('div', { title: f.sentence }, el('dt', {}, f.label), el('dd', {}, f.text)))) : '');
};
watch('value', draw);
draw();
