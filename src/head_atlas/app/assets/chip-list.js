// A listbox of tokens with one signed value each, its scale, and a line that says what is pointed at.
const chipList = (value, about) => {
  const info = el('p', { class: 'ha-grid-info' }, value.hint);
  const list = el('div', { class: 'ha-chips', role: 'listbox', 'aria-label': value.title });
  value.chips.forEach((chip, i) => {
    const node = el('span', {
      role: 'option', 'aria-selected': 'false', tabindex: i === 0 ? '0' : '-1', class: 'ha-chip' + (chip.special ? ' is-special' : '') + (chip.mark ? ' is-marked' : ''),
      'aria-label': chip.label,
      on: { pointerenter: () => { info.textContent = chip.label; }, pointerleave: () => { info.textContent = value.hint; },
        focus: () => { info.textContent = chip.label; [...list.children].forEach((c) => c.setAttribute('aria-selected', String(c === node))); },
        blur: () => { info.textContent = value.hint; node.setAttribute('aria-selected', 'false'); } },
    }, chip.text);
    paint(node, chip.t, value.scale.signed);
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
  return [
    value.lead ? el('p', { class: 'ha-lead' }, value.lead) : '',
    list,
    el('div', { class: 'ha-grid-foot' }, legend(value.scale), info),
    saveMenu(value.title || value.lead, { figure: (opener) => opener.parentElement.parentElement, about: { ...about, unit: value.scale.unit }, table: () => ({
      columns: ['position', 'token', 'value'], rows: value.chips.map((c, i) => [i, c.text, c.value]) }) })];
};
