// A user's notes and tags as they are typed: what may be stored, and what is said when somebody else was faster.

export const NOTES_MAX = 10_000;
export const TAGS_MAX = 20;
export const TAG_LENGTH_MAX = 40;

export interface Words {
  notes: string | null;
  tags: string[];
  notes_version: number | null; // null: nothing was ever written
}

// "breakout, late entry ,breakout" -> ["breakout", "late entry"]
export function tagsOf(text: string): string[] {
  const found = text
    .split(",")
    .map((tag) => tag.trim().replace(/\s+/g, " "))
    .filter((tag) => tag !== "");
  return [...new Set(found)];
}

// the first thing that keeps the words from being stored, or null
export function wrong(notes: string, tags: readonly string[]): string | null {
  if ([...notes].length > NOTES_MAX) return `Notes may have ${NOTES_MAX.toLocaleString("en-US")} characters; these have ${[...notes].length.toLocaleString("en-US")}.`;
  if (tags.length > TAGS_MAX) return `At most ${TAGS_MAX} tags; these are ${tags.length}.`;
  const long = tags.find((tag) => [...tag].length > TAG_LENGTH_MAX);
  return long === undefined ? null : `A tag may have ${TAG_LENGTH_MAX} characters: “${long.slice(0, 20)}…” is longer.`;
}

// what is sent: null clears
export function body(notes: string, tags: readonly string[]): { notes: string | null; tags: readonly string[] } {
  return { notes: notes.trim() === "" ? null : notes, tags };
}
