// A value that parts of the page watch: the smallest thing that keeps several of them in step.
import { useEffect, useState } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(value: T): void;
  watch(listener: (value: T) => void): () => void;
}

export function store<T>(initial: T): Store<T> {
  let current = initial;
  const listeners = new Set<(value: T) => void>();
  return {
    get: () => current,
    set(value) {
      if (Object.is(value, current)) return;
      current = value;
      for (const listener of [...listeners]) listener(value);
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

// The value now, and a new rendering whenever it changes.
export function useStore<T>(from: Store<T>): T {
  const [value, setValue] = useState<T>(() => from.get());
  useEffect(() => {
    setValue(() => from.get());
    return from.watch((next) => setValue(() => next));
  }, [from]);
  return value;
}

// What a browser keeps for this page; one that keeps nothing answers null and forgets.
export const kept = {
  get(name: string): string | null {
    try {
      return localStorage.getItem(`fillbook.${name}`);
    } catch {
      return null;
    }
  },
  set(name: string, value: string | null): void {
    try {
      if (value === null) localStorage.removeItem(`fillbook.${name}`);
      else localStorage.setItem(`fillbook.${name}`, value);
    } catch {
      // nothing to be done: the choice holds until the page is left
    }
  },
};
