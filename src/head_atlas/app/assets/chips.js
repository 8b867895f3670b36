// The prompt's tokens with one signed value each: a listbox with hover, focus and arrow keys.
const root = element.querySelector('.ha-chips-panel');
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const info = el('p', { class: 'ha-grid-info' }, value.hint);
  const list = el('div', { class: 'ha-chips', role: 'listbox', 'aria-label': value.title });
  value.chips.forEach((chip, i) => {
    const node = el('span', {
      role: 'option', 'aria-selected': 'false', tabindex: i === 0 ? '0' : '-1', class: 'ha-chip' + (chip.special ? ' is-special' : ''),
      'aria-label': chip.label,
      on: { pointerenter: () => { info.textContent = chip.label; }, pointerleave: () => { info.textContent = value.hint; },
        focus: () => { info.textContent = chip.label; [...list.children].forEach((c) => c.setAttribute('aria-selected', String(c === node))); },
        blur: () => { info.textContent = value.hint; node.setAttribute('aria-selected', 'false'); } },
    }, chip.text);
    paint(node, chip.t, true);
    list.append(node);
  });
  list.addEventListener('keydown', (e) => {
    const items = [...list.children], i = items.indexOf(document.activeElement);
    const j = { ArrowLeft: i - 1, ArrowUp: i - 1, ArrowRight: i + 1, ArrowDown: i + 1, Home: 0, End: items.length - 1 }[e.key];
    if (j !== undefined && items[j]) {
      e.preventDefault();
      items.forEach((c) => c.setAttribute('tabindex', '-1'));
      items[j].setAttribute('tabindex', '0');
      items[j].focus();
    }
  });
  root.replaceChildren(
    value.lead ? el('p', { class: 'ha-lead' }, value.lead) : '',
    list,
    el('div', { class: 'ha-grid-foot' }, legend(value.scale), info));
};
watch('value', draw);
draw();
