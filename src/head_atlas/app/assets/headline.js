// What the selected head is, or two of them: the sentence that sums each up, and roles with their evidence.
const root = element.querySelector('.ha-headline-panel');
const draw = () => {
  const value = props.value;
  // An answer to a click must not undo a later click, so only what came from elsewhere moves the selection.
  if (value && value.moves) selectedHead.set(value.heads ? value.heads[0].head : null);
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(...value.heads.map((head) => el('article', {},
    el('header', { class: 'ha-card-head' }, el('h2', {}, head.title), el('p', {}, head.subtitle)),
    head.marks.length ? el('ul', { class: 'ha-marks', 'aria-label': 'roles and states' }, head.marks.map((m) => el('li', {}, m))) : null,
    el('p', { class: 'ha-sentence' }, head.sentence), drawSections(head.sections))));
};
watch('value', draw);
draw();
