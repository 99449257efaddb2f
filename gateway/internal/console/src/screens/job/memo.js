// Components that render only when they have to.
import { h } from '../../lib/preact.js';

/** memo returns a component that renders again only when one of its props is another value. */
export function memo(component) {
  function differs(next) {
    const names = Object.keys(next);
    return names.length !== Object.keys(this.props).length || names.some((name) => next[name] !== this.props[name]);
  }
  return function Memo(props) {
    this.shouldComponentUpdate = differs;
    return h(component, props);
  };
}
