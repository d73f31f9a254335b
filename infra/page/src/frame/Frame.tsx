// What surrounds every view: skip link, header, navigation, data line; and the view that the address names.
import type { ComponentType, JSX } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useRoute } from "../lib/router.tsx";
import { DataLine } from "../parts/DataLine.tsx";
import { Empty } from "../parts/Empty.tsx";
import { ErrorBox } from "../parts/ErrorBox.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { ApiError } from "../api/client.ts";
import { Announcer } from "./Announcer.tsx";
import { useDeskPolling } from "./desk.ts";
import { Header } from "./Header.tsx";
import { Help } from "./Help.tsx";
import { useKeyboard } from "./keys.ts";
import { Navigation } from "./Navigation.tsx";
import { viewOf, type View } from "./views.ts";
import "./frame.css";

export function Frame(): JSX.Element {
  const { view: name, id } = useRoute();
  const view = viewOf(name, id);
  const main = useRef<HTMLElement>(null);
  const [isHelping, setHelping] = useState(false);
  const help = useCallback(() => setHelping(true), []);
  const desk = useDeskPolling();
  useKeyboard(help);

  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${view?.title ?? "Not found"} · Trade Tracker`;
    // whoever turned a page begins at its top; the first page is left where the browser put it
    if (isFirst.current) isFirst.current = false;
    else main.current?.focus({ preventScroll: true });
  }, [name, id]);

  const skip = (event: Event): void => {
    event.preventDefault(); // the address stays the view's own
    main.current?.focus();
  };

  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={skip}>Skip to content</a>
      <Header help={help} />
      <div class="bar">
        <Navigation current={name} />
        <DataLine />
      </div>
      <main id="main" ref={main} tabIndex={-1} class={`view view-${view?.key ?? "none"}`}>
        {desk.error !== null && desk.error.status !== 401 && <ErrorBox error={desk.error} retry={desk.refresh} compact shown="The last data stay on the screen." />}
        {view === undefined ? <Empty title="There is no such view">The address may be mistyped.</Empty> : <Loader key={`${view.key}/${id === null}`} view={view} />}
      </main>
      <Announcer />
      <Help isOpen={isHelping} close={() => setHelping(false)} />
    </div>
  );
}

// A view's own code comes when it is first opened; a failed load says so and can be tried again.
function Loader({ view }: { view: View }): JSX.Element {
  const [Shown, setShown] = useState<ComponentType | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let isHere = true;
    setFailure(null);
    view.load().then(
      (module) => isHere && setShown(() => module.default),
      () => isHere && setFailure(new ApiError(0, "view_not_loaded", "This part of the page could not be loaded.")),
    );
    return () => {
      isHere = false;
    };
  }, [view, tries]);
  if (failure !== null) return <ErrorBox error={failure} retry={() => setTries(tries + 1)} />;
  return Shown === null ? <Skeleton kind="cards" rows={6} /> : <Shown />;
}
