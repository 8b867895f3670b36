// Copying a text: by the clipboard where the browser allows it, else out of a field in which it stands selected.
const copyText = async (text, field, say) => {
  field.value = text;
  try { await navigator.clipboard.writeText(text); say('Copied'); return; } catch { /* no secure context, or not allowed */ }
  field.hidden = false;
  field.focus();
  field.select();
  let done = false;
  try { done = document.execCommand('copy'); } catch { /* said below */ }
  say(done ? 'Copied' : 'Selected: press Ctrl+C (⌘C) to copy it');
};
