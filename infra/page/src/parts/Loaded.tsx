// The states of an answer in one place: skeleton, error with Retry, or the data, dated when a newer answer failed.
import type { ComponentChildren, JSX } from "preact";
import { dataAsOfWords } from "./dated.ts";
import { ErrorBox } from "./ErrorBox.tsx";
import { Skeleton } from "./Skeleton.tsx";
import type { Polled } from "../lib/poll.ts";

interface Props<T> {
  of: Polled<T>;
  skeleton?: ComponentChildren;
  quiet?: boolean; // another part of the view tells of the same failure
  children: (data: T) => ComponentChildren;
}

export function Loaded<T>({ of, skeleton, quiet = false, children }: Props<T>): JSX.Element {
  const { data, error, refresh } = of;
  if (data === null) return error === null ? <>{skeleton ?? <Skeleton />}</> : <ErrorBox error={error} retry={refresh} />;
  return (
    <>
      {error !== null && !quiet && <ErrorBox error={error} retry={refresh} compact shown={`Shown: ${dataAsOfWords(data)}`} />}
      {children(data)}
    </>
  );
}
