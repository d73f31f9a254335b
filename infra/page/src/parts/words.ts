// Keys of the API as words: "almost_ready" -> "Almost Ready", "tp_hit" -> "Tp hit".

export function titled(key: string): string {
  return key.split("_").map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(" ");
}

export function sentence(key: string): string {
  const words = key.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

// A title as people read it: what keeps it from being Markdown is Discord's matter.
export function readable(title: string): string {
  return title.replaceAll(/\\([\\*_~`|>#[\]()<@:-])/g, "$1");
}
