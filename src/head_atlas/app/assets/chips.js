// The prompt's tokens with one signed value each.
const root = element.querySelector('.ha-chips-panel');
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(...chipList(value, value.about));
};
watch('value', draw);
draw();
