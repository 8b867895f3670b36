// One sentence on the measure that is shown; its formula and source unfold.
const root = element.querySelector('.ha-measure-panel');
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const open = root.querySelector('details') && root.querySelector('details').open;
  root.replaceChildren(
    el('p', { class: 'ha-kind' }, value.kind),
    el('p', { class: 'ha-sentence' }, rich(value.sentence)),
    el('details', { class: 'ha-notes', open }, el('summary', {}, 'Formula, care and source'),
      el('dl', { class: 'ha-facts' }, value.rows.map((r) => [el('dt', {}, r.label), el('dd', {}, rich(r.text))]))));
};
watch('value', draw);
draw();
