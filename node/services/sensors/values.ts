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
