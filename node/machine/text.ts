/** Finds one value in what a program, a file, a server or a broker says. No message repeats any of it. */

/** The first group of `pattern` in `text`, or all of the match. @throws RangeError */
export function textAt(text: string, pattern: string | undefined): string {
  if (pattern === undefined) return text
  const match = new RegExp(pattern, 'm').exec(text)
  const found = match?.[1] ?? match?.[0]
  if (found === undefined) throw new RangeError('the pattern is nowhere in the text')
  return found
}

/** @throws RangeError where it is not JSON; undefined where nothing is at `pointer` (RFC 6901) */
export function jsonAt(text: string, pointer: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message repeats the text.
    throw new RangeError('the answer is not JSON')
  }
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[key]
  }
  return value
}
