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

/** Which of a sensor's readings are worth keeping; all of them where nothing is said. */
export interface Pace {
  /** Polled: how often it is read. Else: the shortest time between two readings, the newest counts. */
  readonly intervalMs?: number | undefined
  /** A reading that differs from the one before by less is left out. */
  readonly deadband?: number | undefined
  /** Values are rounded to whole steps of this, and a value that is the same again is left out. */
  readonly resolution?: number | undefined
  /** What was measured after this time is not left out, changed or not. */
  readonly heartbeatMs?: number | undefined
}

interface Common {
  /** Beginning of the names of all its sensors. */
  readonly id: string
  readonly pace?: Pace
  /** A person asked for it by name in the settings: it is on unless switched off. */
  readonly asked?: boolean
  /** What it can measure on this machine now. */
  describe(): SensorInfo[]
}

/** A source that is asked. */
export interface PolledSource extends Common {
  /** Measure once. Rejects where the machine does not answer; sensors that are gone are left out. */
  read(signal?: AbortSignal): Promise<Sample[]>
  /** Tell, until `signal` aborts, when it is worth a reading between the regular ones. */
  watch?(onChange: () => void, signal: AbortSignal): void
}

/** Where a source that speaks by itself puts what it says. */
export interface Sink {
  readonly sample: (sample: Sample) => void
  /** It is connected, and waits for something to be said. */
  readonly ready: () => void
  /** It works, but what it said last was of no use. */
  readonly problem: (error: Error) => void
}

/** A source that speaks by itself. */
export interface StreamSource extends Common {
  /** Until `signal` aborts. Where it ends or rejects before, it is started again, later each time. */
  run(sink: Sink, signal: AbortSignal): Promise<void>
}

/** A source that other programs fill through the local API. */
export interface PushSource extends StreamSource {
  /** False where it is not running. @throws RangeError where the value is of no use */
  push(value: unknown): boolean
}

export type SensorSource = PolledSource | StreamSource | PushSource

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
