// The contents of the Learn tab: one entry is open.
const root = element.querySelector('.ha-contents-panel');
let open = null;
const choose = (name) => {
  if (props.value.chosen === name) return;
  open = name;
  props.value = { ...props.value, chosen: name };
  draw();
  trigger('select', { index: 0, value: name });
};
const draw = () => {
  const value = props.value;
  if (!value || !value.entries) return;
  const focused = root.contains(document.activeElement) && document.activeElement.dataset.name;
  root.replaceChildren(el('nav', { 'aria-label': value.label }, el('ol', {}, value.entries.map((entry) =>
    el('li', {}, el('button', { type: 'button', 'data-name': entry.name, 'aria-current': value.chosen === entry.name ? 'page' : null,
      on: { click: () => choose(entry.name) } },
    entry.number ? el('span', { class: 'ha-entry-number', 'aria-hidden': 'true' }, String(entry.number)) : null, entry.title))))));
  const current = root.querySelector('[aria-current]');
  if (focused) root.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  const list = root.querySelector('ol');
  if (current && list.scrollWidth > list.clientWidth) list.scrollLeft = current.parentElement.offsetLeft - list.offsetLeft - 12;
  // The button at the end of a chapter opens the next one: begin at its top.
  if (open !== null && open !== value.chosen && root.offsetParent) root.scrollIntoView({ block: 'start' });
  open = value.chosen;
};
watch('value', draw);
draw();
