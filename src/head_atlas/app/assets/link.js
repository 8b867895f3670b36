// The link to what is shown: the address, without what belongs to Gradio (the theme, for one).
{
  const button = element.querySelector('.ha-copy'), field = element.querySelector('.ha-link-field'), status = element.querySelector('.ha-copied');
  let timer = null;
  const say = (text) => {
    status.textContent = text;
    clearTimeout(timer);
    timer = setTimeout(() => { status.textContent = ''; }, 6000);
  };
  field.addEventListener('blur', () => { field.hidden = true; });
  field.addEventListener('keydown', (e) => { if (e.key === 'Escape') { field.hidden = true; button.focus(); } });
  button.addEventListener('click', () => {
    // The server's own spelling is kept: it leaves commas readable.
    const query = window.location.search.slice(1).split('&').filter((part) => part && !part.startsWith('__')).join('&');
    copyText(window.location.origin + window.location.pathname + (query ? `?${query}` : ''), field, say);
  });
}
