// The page of a head, or of two side by side: groups of sections, each group a question.
const root = element.querySelector('.ha-head-panel');
const draw = () => {
  const value = held(props.value);
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const two = value.pages.length > 1;
  root.classList.toggle('is-two', two);
  // Group by group, so that two heads stand side by side at every question.
  root.replaceChildren(...value.pages[0].groups.map((group, i) => el('div', { class: 'ha-group' + (group.title ? ' ha-box' : '') },
    group.title ? el('h2', {}, group.title) : null,
    el('div', { class: 'ha-pages' }, value.pages.map((page) => el('div', { class: 'ha-sections' },
      two && group.title ? el('p', { class: 'ha-kind' }, page.title) : null, drawSections(page.groups[i].sections, { ...value.about, head: page.head })))))));
};
// The row of what the heat map shows is marked, here where it is on the page already.
shownMeasure.follow(root, () => root.querySelectorAll('[data-key]').forEach((row) => row.classList.toggle('is-current', row.dataset.key === shownMeasure.get())));
watch('value', draw);
draw();
