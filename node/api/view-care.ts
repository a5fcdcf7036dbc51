/** Looking after this device: checks, reports of what went wrong, settings, events. Part of view.ts. */

export interface Check {
  readonly check: string
  readonly ok: boolean
  /** Why it is not ok, or what was found. */
  readonly cause: string
  /** What to do; empty where it is ok. */
  readonly cure: string
}

export interface IncidentQuery {
  /** A reference to a device; all of them without it. */
  readonly device?: string | undefined
  readonly since?: number | undefined
}

/** One signed report of something that went wrong. SPEC.md of protocols/incidents. */
export interface IncidentView {
  /** Peer id of the device that reports. */
  readonly device: string
  readonly name: string
  /** Number among its reports. */
  readonly seq: number
  readonly at: number
  /** When it happened first. */
  readonly since: number
  /** How often from then until `at`. */
  readonly count: number
  readonly kind: string
  readonly code: string | null
  /** The device that it is about. */
  readonly subject: { readonly id: string; readonly name: string } | null
  /** How far the program was. */
  readonly stage: string | null
  /** Files of the program and lines in them, innermost first. */
  readonly places: readonly string[]
  readonly clock: string
  readonly version: string
}

export interface ConfigRow {
  readonly key: string
  readonly value: unknown
  readonly source: 'flag' | 'environment' | 'file' | 'default'
}

/**
 * Something that happened. Types that the command line knows: `pairing.tried` (data: `text`,
 * `triesLeft`), `pairing.paired` (data: `home`, `role`, `by` and, for people, `homeName`, `byName`),
 * `pairing.closed` (data: `reason`, `expired` where the time was up), `telemetry.progress` (data:
 * `device`, `name`, `packs`, `of`: a log that was far behind; the same numbers at its end).
 */
export interface EventView {
  /** Rising within one run of the device. */
  readonly id: number
  readonly type: string
  readonly at: number
  readonly data: Readonly<Record<string, unknown>>
}

export interface CareView {
  doctor(): Promise<readonly Check[]>
  /** Incidents of this device and of those it could ask, oldest first; for owners alone. */
  incidents(query: IncidentQuery): Promise<readonly IncidentView[]>
  /**
   * The bytes of a backup: settings, membership, kept readings and choices, at one moment; never the
   * key. For `kith restore`.
   */
  backup(signal: AbortSignal): AsyncIterable<Uint8Array>
  /** The settings in force. */
  config(): Promise<readonly ConfigRow[]>
  /**
   * Events after number `since` that are still kept, then live ones; without it only those after
   * this call, even where the first is asked for later.
   */
  events(since: number | undefined, signal: AbortSignal): AsyncIterable<EventView>
}
