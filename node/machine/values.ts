/**
 * From what a file, a program, a server or a broker says to one number, or to nothing. All of it is
 * from outside: whatever is not a plain finite number is refused with a message that repeats none
 * of it.
 */

export interface ValueSettings {
  readonly scale: number
  readonly offset: number
  /** What texts mean as numbers. */
  readonly map?: Readonly<Record<string, number>> | undefined
}

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?$/

/**
 * A number, `true` and `false` as 1 and 0, a decimal number as text, or a text of `map`; then times
 * `scale`, plus `offset`. @throws RangeError
 */
export function valueFrom(raw: unknown, { scale, offset, map }: ValueSettings): number {
  const value = plainNumber(raw, map) * scale + offset
  if (!Number.isFinite(value)) throw new RangeError('the value is not a number that can be kept')
  return value
}

function plainNumber(raw: unknown, map: ValueSettings['map'] = {}): number {
  if (typeof raw === 'number') return raw
  if (typeof raw === 'boolean') return wordIn(map, String(raw)) ?? Number(raw)
  if (raw === undefined) throw new RangeError('there is no value at that place')
  if (raw === null) throw new RangeError('the value is empty')
  if (typeof raw !== 'string') throw new RangeError('the value is a list or a table, not a number')
  const word = raw.trim()
  const meaning = wordIn(map, word)
  if (meaning !== undefined) return meaning
  if (word.length > 64 || !DECIMAL.test(word)) {
    throw new RangeError('the value is a text that is no number and not in its map')
  }
  return Number(word)
}

function wordIn(map: Readonly<Record<string, number>>, word: string): number | undefined {
  return Object.hasOwn(map, word) ? map[word] : undefined
}

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
