// A card: a title, and titled sections.
const root = element.querySelector('.ha-card-panel');
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(
    value.title ? el('header', { class: 'ha-card-head' }, el('h2', {}, value.title), value.subtitle ? el('p', {}, value.subtitle) : null) : '',
    ...drawSections(value.sections, value.about));
};
watch('value', draw);
draw();
