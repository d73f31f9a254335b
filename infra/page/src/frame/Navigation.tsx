// The eight views: a row of tabs on a desk, a bar at the bottom of a phone with the rest behind "More".
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Link, useRoute } from "../lib/router.tsx";
import { Icon } from "../parts/Icon.tsx";
import { Sheet } from "../parts/Sheet.tsx";
import { VIEWS, type View } from "./views.ts";

const ON_A_PHONE = 4;

export function Navigation({ current }: { current: string }): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const { view, id } = useRoute();
  useEffect(() => setOpen(false), [view, id]);
  const isBehind = VIEWS.findIndex(({ key }) => key === current) >= ON_A_PHONE;
  return (
    <nav class="navigation" aria-label="Views">
      <ul>
        {VIEWS.map((one, number) => (
          <li key={one.key} class={number >= ON_A_PHONE ? "wide-only" : undefined}><Item view={one} current={current} /></li>
        ))}
        <li class="narrow-only">
          <button type="button" class={`navigation-item${isBehind ? " current" : ""}`} aria-haspopup="dialog" aria-expanded={isOpen} onClick={() => setOpen(true)}>
            <Icon name="more" /><span>More</span>
          </button>
        </li>
      </ul>
      <Sheet title="More views" isOpen={isOpen} close={() => setOpen(false)}>
        <ul class="navigation-more">
          {VIEWS.slice(ON_A_PHONE).map((one) => <li key={one.key}><Item view={one} current={current} /></li>)}
        </ul>
      </Sheet>
    </nav>
  );
}

function Item({ view, current }: { view: View; current: string }): JSX.Element {
  return (
    <Link to={`/app/${view.key}`} class="navigation-item" aria-current={view.key === current ? "page" : undefined}>
      <Icon name={view.key} /><span>{view.title}</span>
    </Link>
  );
}
