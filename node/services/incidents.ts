/**
 * Incidents of this device, signed and kept; and on an owner's device those of every other one,
 * fetched from the device itself while it is connected. What must not wait for the disk or for a
 * home waits in memory, bounded.
 */
import type { Logger } from 'pino'

import type { Signer, Verifier } from '../../protocols/identity/index.ts'
import {
  INCIDENTS,
  openReport,
  readReports,
  sealReport,
  serveReports,
  type IncidentKind,
  type Report,
  type Stage,
} from '../../protocols/incidents/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { Clock } from '../env.ts'
import { createEmitter, type Emitter } from '../events.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { IncidentStore } from '../storage/incidents.ts'
import type { Timekeeper } from '../timekeeper.ts'

export interface Incident {
  readonly kind: IncidentKind
  /** When it happened first, UTC milliseconds; now where absent. */
  readonly sinceMs?: number | undefined
  readonly count?: number
  readonly code?: string | undefined
  /** Public key of the device that it is about. */
  readonly subject?: Uint8Array | undefined
  readonly stage?: Stage | undefined
  readonly places?: readonly string[]
}

export interface IncidentEvents extends Record<string, unknown> {
  /** A report was signed here, or came from another device. */
  incident: Report
}

export interface IncidentsDeps {
  readonly mesh: Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers'>
  readonly store: IncidentStore
  readonly signer: Signer
  readonly verifier: Verifier
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly version: string
  /** The device may read incidents; of a peer before each report, of this one before fetching. */
  readonly isOwner: (device: Uint8Array) => boolean
  readonly time: Pick<Timekeeper, 'quality'>
  readonly clock: Clock
  readonly log: Logger
}

export interface Incidents extends AsyncDisposable {
  readonly events: Emitter<IncidentEvents>
  record(incident: Incident): void
  /** Count one refused attempt; see SPEC.md "State and storage". */
  attack(code: string, subject?: Uint8Array): void
  /** Kept reports, oldest first. */
  list(query: { readonly device?: Uint8Array | undefined; readonly sinceMs: number }): Report[]
  /** Roles have changed: look again at whom to ask. */
  refresh(): void
}

/** Reports that wait for the disk, and kinds of attempts that are counted at a time. */
const MAX_WAITING = 64
const MAX_COUNTED = 32
/** The first attempt is told after this, further ones of its kind once in the longer time. */
const FIRST_TELL_MS = 5_000
const TELL_EVERY_MS = 3_600_000
const RETRY_MS = 60_000

export async function startIncidents(deps: IncidentsDeps, signal: AbortSignal): Promise<Incidents> {
  signal.throwIfAborted()
  const { log, mesh, signer, store } = deps
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const events = createEmitter<IncidentEvents>((err) => log.error({ err }, 'listener failed'))
  const writer = ownReports(deps, (report) => events.emit('incident', report))
  const counter = attackCounter(deps.clock, writer.record)
  const reading = readers(deps, (report) => events.emit('incident', report), until)
  await mesh.serve(INCIDENTS, (channel, peer, streamSignal) =>
    serveReports(
      channel,
      {
        source: {
          head: () => store.last(signer.key)?.seq ?? 0,
          next: (from) => store.next(signer.key, from),
          onNew: (listener) =>
            events.on('incident', ({ device }) => {
              if (toHex(device) === toHex(signer.key)) listener()
            }),
        },
        mayRead: () => deps.isOwner(peer),
      },
      AbortSignal.any([until, streamSignal]),
    ),
  )
  return {
    events,
    record: writer.record,
    attack: counter.attack,
    list: (query) => store.list(query).map(({ device, bytes }) => openReport(bytes, deps, device)),
    refresh: reading.refresh,
    async [Symbol.asyncDispose]() {
      counter.flush()
      stop.abort(new Error('stopping'))
      writer.close()
      await reading.done()
    },
  }
}

function ownReports(
  { clock, home, log, signer, store, time, version }: IncidentsDeps,
  onReport: (report: Report) => void,
): { record: (incident: Incident) => void; close: () => void } {
  const waiting: Incident[] = []
  let cancel: (() => void) | undefined

  function sign(incident: Incident): Report {
    const { kind, count = 1, code, subject, stage, places = [] } = incident
    const at = Math.max(0, clock.now())
    return store.append(signer.key, (seq, prev) =>
      sealReport(
        {
          seq,
          prev,
          at,
          clock: time.quality(),
          version: version.slice(0, 32),
          kind,
          count,
          since: Math.min(incident.sinceMs ?? at, at),
          ...(code === undefined ? {} : { code }),
          ...(subject === undefined ? {} : { subject }),
          ...(stage === undefined ? {} : { stage }),
          ...(places.length === 0 ? {} : { places }),
        },
        home,
        signer,
      ),
    )
  }

  function write(): void {
    cancel = undefined
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      try {
        onReport(sign(next))
      } catch (err) {
        log.warn({ err, kind: next.kind }, 'incident cannot be kept yet')
        cancel = clock.timer(RETRY_MS, write)
        return
      }
      waiting.shift()
    }
  }

  return {
    record(incident) {
      waiting.push({ sinceMs: Math.max(0, clock.now()), ...incident })
      if (waiting.length > MAX_WAITING) waiting.shift()
      // In a later turn: it may be told in the middle of a transaction.
      cancel ??= clock.timer(0, write)
    },
    close() {
      cancel?.()
      write()
      cancel?.()
    },
  }
}

interface Counted {
  readonly code: string
  readonly subject: Uint8Array | undefined
  sinceMs: number
  count: number
}

function attackCounter(
  clock: Clock,
  record: (incident: Incident) => void,
): { attack: (code: string, subject?: Uint8Array) => void; flush: () => void } {
  const counted = new Map<string, Counted>()

  function tell(key: string): void {
    const entry = counted.get(key)
    if (entry === undefined) return
    const { code, count, sinceMs, subject } = entry
    if (count === 0) {
      counted.delete(key)
      return
    }
    record({ kind: 'attack', code, count, sinceMs, subject })
    entry.count = 0
    clock.timer(TELL_EVERY_MS, () => tell(key))
  }

  function attack(code: string, subject?: Uint8Array): void {
    const key = `${code}/${subject === undefined ? '' : toHex(subject)}`
    const known = counted.get(key)
    if (known !== undefined) {
      if (known.count === 0) known.sinceMs = clock.now()
      known.count++
    } else if (counted.size < MAX_COUNTED) {
      counted.set(key, { code, subject, sinceMs: clock.now(), count: 1 })
      clock.timer(FIRST_TELL_MS, () => tell(key))
    } else if (subject !== undefined) {
      // Someone with many names is counted as one.
      attack(code)
    } else if (counted.size < 2 * MAX_COUNTED) {
      counted.set(key, { code, subject, sinceMs: clock.now(), count: 1 })
      clock.timer(FIRST_TELL_MS, () => tell(key))
    }
  }

  return {
    attack,
    flush() {
      for (const { code, count, sinceMs, subject } of counted.values()) {
        if (count > 0) record({ kind: 'attack', code, count, sinceMs, subject })
      }
      counted.clear()
    },
  }
}

/** One stream to each connected peer while this device is an owner. */
function readers(
  deps: IncidentsDeps,
  onReport: (report: Report) => void,
  signal: AbortSignal,
): { refresh: () => void; done: () => Promise<void> } {
  const { clock, isOwner, log, mesh } = deps
  const open = new Map<string, AbortController>()
  const running = new Set<Promise<void>>()

  async function read(device: Uint8Array, until: AbortSignal): Promise<void> {
    while (!until.aborted) {
      try {
        await readOnce({ ...deps, device, onReport }, until)
      } catch (err) {
        if (!until.aborted) log.debug({ err, peer: toHex(device) }, 'no incidents from there')
      }
      if (until.aborted) return
      await clock.sleep(RETRY_MS, until).catch(() => undefined)
    }
  }

  function start(device: Uint8Array): void {
    const key = toHex(device)
    if (open.has(key) || signal.aborted || !isOwner(mesh.key)) return
    const stop = new AbortController()
    open.set(key, stop)
    const run = read(device, AbortSignal.any([signal, stop.signal])).finally(() =>
      running.delete(run),
    )
    running.add(run)
  }

  function end(device: Uint8Array): void {
    open.get(toHex(device))?.abort(new Error('disconnected'))
    open.delete(toHex(device))
  }

  mesh.events.on('connect', ({ key }) => start(key), signal)
  mesh.events.on('disconnect', ({ key }) => end(key), signal)
  for (const { key } of mesh.peers()) start(key)
  return {
    refresh() {
      for (const { key } of mesh.peers()) {
        if (isOwner(mesh.key)) start(key)
        else end(key)
      }
    },
    async done() {
      await Promise.all(running)
    },
  }
}

interface Reading {
  /** Whom to ask. */
  readonly device: Uint8Array
  readonly onReport: (report: Report) => void
}

/** Ask one device, until it or the connection ends it. */
async function readOnce(
  { device, onReport, ...deps }: IncidentsDeps & Reading,
  until: AbortSignal,
): Promise<void> {
  const { mesh, store } = deps
  const stream = await mesh.open(device, INCIDENTS, until)
  const abort = (): void => stream.abort(until.reason as Error)
  until.addEventListener('abort', abort, { once: true })
  try {
    until.throwIfAborted()
    const last = store.last(device)
    for await (const report of readReports(stream.channel, { ...deps, device, last })) {
      store.insert(report)
      onReport(report)
    }
  } finally {
    until.removeEventListener('abort', abort)
    await stream[Symbol.asyncDispose]()
  }
}
