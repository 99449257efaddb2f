// Server-sent events from text, because EventSource cannot send an API key.

/** eventParser returns a function that takes the next part of the text and returns the events that
 * it completes, as {event, data, id} (WHATWG HTML, section 9.2.6). */
export function eventParser() {
  let rest = '';
  let block = { event: '', data: [], id: undefined };
  let carried = false; // the last part ended with a carriage return, whose line feed may follow
  return (text) => {
    if (carried && text.startsWith('\n')) text = text.slice(1);
    carried = text.endsWith('\r');
    const lines = (rest + text).split(/\r\n|\n|\r/);
    rest = lines.pop();
    const events = [];
    for (const line of lines) {
      if (line === '') {
        if (block.data.length) events.push({ event: block.event || 'message', data: block.data.join('\n'), id: block.id });
        block = { event: '', data: [], id: undefined };
        continue;
      }
      const [, field, value] = /^([^:]*)(?::\x20?(.*))?$/s.exec(line);
      if (field === 'data') block.data.push(value ?? '');
      else if (field === 'event') block.event = value ?? '';
      else if (field === 'id') block.id = value ?? '';
    }
    return events;
  };
}
