// One prediction under several conditions: the prompt, then a bar per condition.
const root = element.querySelector('.ha-experiment-panel');
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(
    value.title ? el('h3', { class: 'ha-title' }, value.title) : '',
    value.lead ? el('p', { class: 'ha-lead' }, value.lead) : '',
    el('p', { class: 'ha-prompt' }, value.tokens.map((t) => el('span', {}, t)), el('span', { class: 'ha-next' }, '?')),
    el('p', { class: 'ha-question' }, value.question),
    el('div', { class: 'ha-conditions', role: 'table', 'aria-label': value.question },
      value.rows.map((row) => el('div', { role: 'row', class: `ha-condition kind-${row.kind}` },
        el('span', { role: 'rowheader' }, row.label),
        el('span', { role: 'cell', class: 'ha-cbar', 'aria-hidden': 'true' }, el('i', { vars: { '--w': row.w } })),
        el('span', { role: 'cell', class: 'ha-num' }, row.text),
        el('span', { role: 'cell', class: 'ha-says' }, row.says)))),
    value.verdict ? el('p', { class: 'ha-verdict' + (value.held === true ? ' is-held' : value.held === false ? ' is-not' : '') }, value.verdict) : '');
};
watch('value', draw);
draw();
