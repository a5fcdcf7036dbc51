/** What a benchmark found, its summary over rounds, and how both are shown. */

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export interface Row {
  readonly what: string
  readonly unit: string
  readonly spread: Spread
}

export interface Goal {
  readonly text: string
  readonly met: boolean
}

export interface Result {
  readonly name: string
  /** What was compared with what. */
  readonly about: string
  readonly rows: readonly Row[]
  readonly goals: readonly Goal[]
}

/** @throws RangeError where there is no value */
export function spreadOf(values: readonly number[]): Spread {
  return { median: quantile(values, 0.5), min: Math.min(...values), max: Math.max(...values) }
}

/** The value below which `part` (0 to 1) of `values` lie. @throws RangeError where there is none */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * part
  const below = sorted[Math.floor(place)]
  const above = sorted[Math.ceil(place)]
  if (below === undefined || above === undefined) throw new RangeError('no values')
  return below + (above - below) * (place - Math.floor(place))
}

export function row(what: string, unit: string, values: readonly number[]): Row {
  return { what, unit, spread: spreadOf(values) }
}

/** `a[i] / b[i]` for each round, so that what slowed a round down slowed both. */
export function ratios(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value / (b[i] ?? Number.NaN))
}

/** Met where the median is at most `most`. */
export function atMost(text: string, values: readonly number[], most: number): Goal {
  return { text, met: quantile(values, 0.5) <= most }
}

export function table({ name, about, rows, goals }: Result): string {
  const cells = rows.map(({ what, unit, spread }) => [
    what,
    short(spread.median),
    `${short(spread.min)} … ${short(spread.max)}`,
    unit,
  ])
  const all = [['', 'median', 'min … max', ''], ...cells]
  const widths = [0, 1, 2, 3].map((i) => Math.max(...all.map((line) => line[i]?.length ?? 0)))
  const lines = all.map((line) =>
    line.map((cell, i) => aligned(cell, widths[i] ?? 0, i)).join('  '),
  )
  const verdicts = goals.map(({ text, met }) => `${met ? 'met' : 'MISSED'}: ${text}`)
  return [`${name}: ${about}`, ...lines, ...verdicts]
    .map((line) => `  ${line}`.trimEnd())
    .join('\n')
    .trim()
}

/** Numbers to the right, words to the left. */
function aligned(cell: string, width: number, column: number): string {
  return column === 1 || column === 2 ? cell.padStart(width) : cell.padEnd(width)
}

function short(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en')
  return value.toPrecision(3)
}
