/** The newest schedule of every device, and how long ago it was heard. */
import { equalBytes, toHex } from '../wire/index.ts'
import type { News } from './messages.ts'
import { presenceOf, type Presence } from './presence.ts'
import { BOUNDS } from './protocol.ts'
import type { Schedule } from './schedule.ts'
import { elapsed, type Elapsed, type Stamp } from './stamp.ts'

/** A schedule on disk. It was `ageMs` old at `heard`. */
export interface ScheduleRow {
  readonly device: Uint8Array
  readonly bytes: Uint8Array
  readonly ageMs: number
  readonly heard: Stamp
}

export interface ScheduleStore {
  load(): ScheduleRow[]
  put(row: ScheduleRow): void
}

export interface TimetableDeps {
  readonly store: ScheduleStore
  readonly now: () => Stamp
  /** Check and read one. @throws any coded error */
  readonly read: (bytes: Uint8Array) => Schedule
  readonly isMember: (device: Uint8Array) => boolean
  /** A newer schedule is on disk. */
  readonly heard: (schedule: Schedule) => void
}

interface Entry {
  readonly schedule: Schedule
  readonly ageMs: number
  readonly heard: Stamp
  /** Who told it, where that was in this run. */
  readonly from?: Uint8Array
}

export class Timetable {
  readonly #deps: TimetableDeps
  readonly #entries = new Map<string, Entry>()

  constructor(deps: TimetableDeps) {
    this.#deps = deps
    for (const { bytes, ageMs, heard } of deps.store.load()) {
      const schedule = deps.read(bytes)
      this.#entries.set(toHex(schedule.device), { schedule, ageMs, heard })
    }
  }

  get all(): readonly Schedule[] {
    return [...this.#entries.values()].map(({ schedule }) => schedule)
  }

  get(device: Uint8Array): Schedule | undefined {
    return this.#entries.get(toHex(device))?.schedule
  }

  sleeps(device: Uint8Array): boolean {
    return this.get(device)?.mode === 'sleepy'
  }

  parentsOf(device: Uint8Array): readonly Uint8Array[] {
    return this.get(device)?.parents ?? []
  }

  /** @throws any coded error */
  read(bytes: Uint8Array): Schedule {
    return this.#deps.read(bytes)
  }

  /**
   * Take in a schedule that `from` heard `ageMs` ago. Undefined where it is not newer than what is
   * known, or nobody's. On disk when it returns. @throws any coded error where it is damaged
   */
  hear(bytes: Uint8Array, ageMs: number, from: Uint8Array): Schedule | undefined {
    const { heard, now, store, read, isMember } = this.#deps
    const schedule = read(bytes)
    const name = toHex(schedule.device)
    const known = this.#entries.get(name)
    if (known !== undefined && known.schedule.seq >= schedule.seq) return undefined
    if (!isMember(schedule.device)) return undefined
    if (known === undefined && this.#entries.size >= BOUNDS.maxSchedules) return undefined
    const entry = { schedule, ageMs, heard: now(), from }
    store.put({ device: schedule.device, bytes, ageMs, heard: entry.heard })
    this.#entries.set(name, entry)
    heard(schedule)
    return schedule
  }

  /** Times are on the clock whose time is `atMs` now. */
  presence(device: Uint8Array, connected: boolean, atMs: number): Presence {
    const entry = this.#entries.get(toHex(device))
    if (entry === undefined) return presenceOf(undefined, 0, connected, atMs)
    return presenceOf(entry.schedule, atMs - this.#age(entry).ms, connected, atMs)
  }

  /** After which nobody waits for the device to answer a call whose time is over. */
  graceMs(device: Uint8Array): number {
    const schedule = this.get(device)
    return schedule === undefined ? 86_400_000 : 3 * schedule.periodMs + schedule.slackMs
  }

  /** What `peer` may not know, of those whose age is sure. `told` has the numbers that it was told. */
  news(peer: Uint8Array, told: ReadonlyMap<string, number>): News['schedules'] {
    const found: { schedule: Uint8Array; age: number }[] = []
    for (const [name, entry] of this.#entries) {
      const { schedule } = entry
      const { ms, certain } = this.#age(entry)
      const tellers = [schedule.device, entry.from].filter((key) => key !== undefined)
      const known =
        (told.get(name) ?? 0) >= schedule.seq || tellers.some((key) => equalBytes(key, peer))
      if (known || !certain || ms > BOUNDS.maxAgeMs) continue
      found.push({ schedule: schedule.bytes, age: Math.floor(ms) })
      if (found.length === BOUNDS.maxDocuments) break
    }
    return found
  }

  #age({ ageMs, heard, schedule }: Entry): Elapsed {
    const { ms, certain } = elapsed(heard, this.#deps.now())
    // How long this machine was off is not known: what was heard before may be due by now.
    const known = certain ? ageMs : Math.max(ageMs, schedule.periodMs)
    return { ms: known + ms, certain }
  }
}
