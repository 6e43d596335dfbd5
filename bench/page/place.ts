/** Where the page is, in the URL: `#part?digits=347&rank=15`. */
export interface Place {
  /** which part */
  id: string;
  query: URLSearchParams;
}

/** What a URL's hash asks for; the first part where it names none. */
export function placeOf(hash: string, parts: readonly string[]): Place {
  const [id = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  return { id: parts.includes(id) ? id : parts[0]!, query: new URLSearchParams(query) };
}

export function hashOf(id: string, query: URLSearchParams | Readonly<Record<string, string>>): string {
  const text = String(query instanceof URLSearchParams ? query : new URLSearchParams(query));
  return text ? `#${id}?${text}` : `#${id}`;
}
