// One line of status or of an expected error, announced to screen readers.
const root = element.querySelector('.ha-note-panel');
root.setAttribute('role', 'status');
root.setAttribute('aria-live', 'polite');
const draw = () => {
  const value = props.value;
  root.className = 'ha-note-panel' + (value && value.text ? ` is-${['error', 'busy', 'done', 'info'].includes(value.kind) ? value.kind : 'info'}` : '');
  root.replaceChildren(...(value && value.text ? [
    el('span', {}, value.text),
    value.fraction !== undefined && value.fraction !== null ? el('progress', { max: 1, value: value.fraction, 'aria-label': 'progress' }) : '',
  ] : []));
};
watch('value', draw);
draw();
