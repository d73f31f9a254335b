// A component that is drawn again only when one of its properties is another object: answers share what did not change.
import { Component, h, type ComponentType, type JSX } from "preact";

export function memo<P extends object>(inner: (props: P) => JSX.Element): ComponentType<P> {
  return class Kept extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const [now, then] = [this.props as Record<string, unknown>, next as Record<string, unknown>];
      return Object.keys({ ...now, ...then }).some((name) => !Object.is(now[name], then[name]));
    }

    override render(): JSX.Element {
      return h(inner as ComponentType<object>, this.props as object);
    }
  };
}
