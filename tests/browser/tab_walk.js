// Made ready for a walk by the Tab key: `tabWalk.state()` now and then, and what was found from `tabWalk.end()`.
() => {
  const CONTROL = 'a[href], button, input, select, textarea, summary, [tabindex], [role=button], [role=tab], '
    + '[role=option], [role=gridcell], [role=radio], [role=checkbox], [role=switch], [role=menuitem]';
  // Of these one part is a stop of the Tab key, and arrow keys lead to the others.
  const COMPOSITE = '[role=grid], [role=listbox], [role=tablist], [role=radiogroup], [role=menu], [role=list]';
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest('[inert], [aria-hidden=true]')
    && e.getBoundingClientRect().width > 0;
  const points = (e) => getComputedStyle(e).cursor === 'pointer';
  const look = (e) => {
    const parts = [];
    // A frame around a field belongs to the field.
    for (let at = e, i = 0; at && i < 4; at = at.parentElement, i++) {
      const s = getComputedStyle(at);
      const outline = s.outlineStyle === 'none' ? '' : s.outlineStyle + s.outlineWidth + s.outlineColor;
      parts.push([outline, s.boxShadow, s.borderColor, s.backgroundColor, s.textDecoration].join());
    }
    return parts.join('|');
  };
  const name = (e) => {
    const id = e.id || e.closest('[id]')?.id || '';
    return `${e.tagName.toLowerCase()}.${String(e.className.baseVal ?? e.className).slice(0, 40)} “${(e.getAttribute('aria-label') || e.textContent || '').trim().slice(0, 40)}” in #${id}`;
  };
  // Of a colour that fades in, the first instant would be compared.
  document.head.append(Object.assign(document.createElement('style'), { textContent: '* { transition: none !important; }' }));
  // The Tab key goes on from where the last click was, so the walk begins at a mark before everything.
  document.querySelector('#tab-walk')?.remove();
  const mark = Object.assign(document.createElement('span'), { id: 'tab-walk', tabIndex: -1 });
  document.body.prepend(mark);
  mark.focus();
  const controls = [...document.querySelectorAll(CONTROL)].filter((e) => shown(e) && !e.disabled && e.getAttribute('tabindex') !== '-1');
  const pointed = [...document.querySelectorAll('body *')].filter((e) => points(e) && !points(e.parentElement) && shown(e));
  const before = new Map(controls.map((e) => [e, look(e)]));
  const reached = [], unseen = [];
  let again = null; // the first stop that came a second time
  const listen = (event) => {
    const e = event.target;
    if (reached.includes(e)) { again ??= reached.indexOf(e); return; }
    if (again !== null) return;
    reached.push(e);
    if (before.has(e) && look(e) === before.get(e)) unseen.push(name(e));
  };
  document.addEventListener('focusin', listen);
  const group = (e) => e.closest(COMPOSITE);
  const has = (e) => reached.some((r) => r === e || e.contains(r) || r.contains(e)
    || (group(e) && group(e).contains(r)) || (e.type === 'radio' && r.type === 'radio' && r.name === e.name)
    || (e.closest('label') && e.closest('label').contains(r)));
  window.tabWalk = {
    // How many stops so far; whether the walk is over, because the focus left the page or came to a stop again.
    state: () => ({ stops: reached.length, over: again !== null || document.activeElement === document.body }),
    end: () => {
      document.removeEventListener('focusin', listen);
      // What went away, such as a menu that closed when it lost the focus, is nobody's to reach.
      const missed = [...new Set([...controls, ...pointed])].filter((e) => e.isConnected && shown(e) && !e.disabled && !has(e));
      return { reached: reached.map(name), missed: missed.map(name), unseen, trapped: again !== null && again > 0 };
    },
  };
}
