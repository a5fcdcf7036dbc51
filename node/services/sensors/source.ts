/** What can be measured. One source reads one place of the machine and may give several sensors. */

export interface SensorInfo {
  /** Name under the device, e.g. `memory.used`: SenML characters, 1..64 bytes. */
  readonly name: string
  /** SenML unit name; empty where there is none. */
  readonly unit: string
  /** One line for people. */
  readonly description: string
}

export interface Sample {
  readonly sensor: string
  readonly unit?: string
  readonly value: number | boolean | string
}

export interface SensorSource {
  /** Beginning of the names of all its sensors. */
  readonly id: string
  /** What it can measure on this machine now. */
  describe(): SensorInfo[]
  /** Measure once. Rejects where the machine does not answer; sensors that are gone are left out. */
  read(): Promise<Sample[]>
}

/** One letter, digit or `-` for each character of a machine's name that SenML does not allow. */
export function sensorPart(name: string): string {
  return (
    name
      .trim()
      .replaceAll(/[^A-Za-z0-9_-]+/g, '-')
      .slice(0, 24) || 'unnamed'
  )
}

/**
 * Whether `name` is chosen by one of `patterns`: the name itself, the beginning of it up to a dot, or
 * a pattern in which `*` stands for any characters.
 */
export function isChosen(name: string, patterns: readonly string[]): boolean {
  return patterns.some(
    (pattern) => name.startsWith(`${pattern}.`) || matches(name, pattern.split('*')),
  )
}

/** Pieces in their order, the first at the beginning and the last at the end. */
function matches(name: string, pieces: readonly string[]): boolean {
  const [first = '', ...rest] = pieces
  if (rest.length === 0) return name === first
  const last = rest.pop() ?? ''
  if (!name.startsWith(first) || name.length < first.length + last.length) return false
  let at = first.length
  for (const piece of rest) {
    const found = name.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return name.endsWith(last) && at <= name.length - last.length
}
