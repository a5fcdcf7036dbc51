/**
 * Keeps what the page knows in step with the device: signs in, loads, follows the streams, waits
 * and tries again. It holds the one state that the components draw, and does nothing while nobody
 * looks: a hidden page keeps no connection open, for a browser has only six for one device.
 */
import type { DeviceRow, EventView, Reading, StatusView } from '../../api/view.ts'
import { ApiError, type Client } from './client.ts'
import { WINDOW_MS, withHistory, withReading, type AllSeries } from './series.ts'
import { loadUses, type AllUses } from './uses.ts'

const KEPT_EVENTS = 50
const RELOAD_MS = 15_000
const USES_MS = 30_000
const FIRST_RETRY_MS = 1000
const MAX_RETRY_MS = 30_000

export type Phase = 'loading' | 'signed-out' | 'ready'

export interface State {
  readonly phase: Phase
  /** When the next try is due, where the device does not answer; else undefined. */
  readonly retryAt: number | undefined
  /** Why the sign-in was refused, in words. */
  readonly refusal: string | undefined
  readonly status: StatusView | undefined
  readonly devices: readonly DeviceRow[]
  readonly series: AllSeries
  readonly uses: AllUses
  /** Newest first. */
  readonly events: readonly EventView[]
}

export const INITIAL: State = {
  phase: 'loading',
  retryAt: undefined,
  refusal: undefined,
  status: undefined,
  devices: [],
  series: new Map(),
  uses: new Map(),
  events: [],
}

export interface Live {
  /** Load again now, or try again now. */
  readonly refresh: () => void
  /** Ask a device again what it lets this one do. */
  readonly reuse: (device: string) => void
  readonly stop: () => void
}

/** One stretch of being connected: from loading to the first part that fails or ends. */
interface Round {
  readonly client: Client
  readonly store: Store
  readonly bell: Bell
  readonly signal: AbortSignal
}

interface Store {
  get(): State
  set(change: Partial<State>): void
}

/** Starts, and calls `draw` with each new state. */
export function startLive(client: Client, draw: (state: State) => void): Live {
  const ended = new AbortController()
  const store = createStore(draw)
  const bell = createBell()
  let current = new AbortController()
  /** The round was ended from here: nothing failed. */
  let interrupted = false

  function again(): void {
    interrupted = true
    current.abort()
    bell.ring()
  }

  async function run(): Promise<void> {
    let failures = 0
    while (!ended.signal.aborted) {
      if (document.hidden) {
        await bell.wait(undefined)
        continue
      }
      current = new AbortController()
      interrupted = false
      try {
        await signIn(client, store)
        await load(client, store, current.signal)
        failures = 0
        await follow({ client, store, bell, signal: current.signal })
      } catch (error) {
        if (interrupted) continue
        await bell.wait(fail(store, error, failures++))
      } finally {
        current.abort()
      }
    }
  }

  const listening = { signal: ended.signal }
  globalThis.addEventListener('hashchange', again, listening)
  globalThis.addEventListener('online', again, listening)
  document.addEventListener('visibilitychange', again, listening)
  void run()
  return {
    refresh: bell.ring,
    reuse: (device) => void loadUse({ client, store, bell, signal: current.signal }, device),
    stop() {
      ended.abort()
      again()
    },
  }
}

function createStore(draw: (state: State) => void): Store {
  let state = INITIAL
  return {
    get: () => state,
    set(change) {
      state = { ...state, ...change }
      draw(state)
    },
  }
}

/** Shows what went wrong. Returns how long to wait; undefined where only the person can help. */
function fail(store: Store, error: unknown, failures: number): number | undefined {
  if (error instanceof ApiError && error.status === 401) {
    const { refusal } = store.get()
    store.set({ ...INITIAL, phase: 'signed-out', refusal })
    return undefined
  }
  const waitMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** failures)
  store.set({ retryAt: Date.now() + waitMs })
  return waitMs
}

async function signIn(client: Client, store: Store): Promise<void> {
  const token = takeToken()
  if (token === undefined) return
  store.set({ refusal: undefined })
  await client.login(token).catch((error: unknown) => {
    if (!(error instanceof ApiError)) throw error
    // An older session may still hold: the next request tells.
    store.set({ refusal: 'The link was used before, or is too old.' })
  })
}

/** The secret in the fragment, taken out of the address so that it is neither kept nor shared. */
function takeToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('t')
  if (location.hash !== '') history.replaceState(null, '', location.pathname)
  return token === null || token === '' ? undefined : token
}

async function load(client: Client, store: Store, signal: AbortSignal): Promise<void> {
  const [status, devices] = await Promise.all([client.status(signal), client.devices(signal)])
  const before = store.get()
  // The device counts its events anew when it starts anew.
  const events = status.startedAt === before.status?.startedAt ? before.events : []
  const good = { phase: 'ready', retryAt: undefined, refusal: undefined } as const
  store.set({ ...good, status, devices, events })
}

/** Without a home there are no readings. Resolves where there is a home all at once, or another. */
async function follow(round: Round): Promise<void> {
  const parts = new AbortController()
  const signal = AbortSignal.any([round.signal, parts.signal])
  const inner = { ...round, signal }
  const streams = [followEvents(inner)]
  if (round.store.get().status?.home !== null) {
    streams.push(followReadings(inner), loadHistory(inner), followUses(inner))
  }
  try {
    await Promise.race([reload(inner), firstFailure(streams)])
  } finally {
    parts.abort()
    await Promise.allSettled(streams)
  }
}

async function firstFailure(parts: readonly Promise<void>[]): Promise<never> {
  await Promise.all(parts)
  throw new Error('every stream ended')
}

/** On every event, when asked, and now and then, until the home is another. */
async function reload({ client, store, bell, signal }: Round): Promise<void> {
  const had = store.get().status?.home?.id
  while (!signal.aborted && store.get().status?.home?.id === had) {
    await bell.wait(RELOAD_MS, signal)
    if (!signal.aborted) await load(client, store, signal)
  }
}

async function followEvents({ client, store, bell, signal }: Round): Promise<void> {
  const take = (event: EventView): void => {
    store.set({ events: [event, ...store.get().events].slice(0, KEPT_EVENTS) })
    bell.ring()
  }
  await client.events(store.get().events[0]?.id ?? 0, take, signal)
  throw new Error('the events ended')
}

async function followReadings({ client, store, signal }: Round): Promise<void> {
  let waiting: Reading[] = []
  const show = (): void => {
    const series = waiting.reduce(withReading, store.get().series)
    waiting = []
    store.set({ series })
  }
  const take = (reading: Reading): void => {
    // One drawing for all readings that come at once.
    if (waiting.push(reading) === 1) requestAnimationFrame(show)
  }
  await client.watch(take, signal)
  throw new Error('the readings ended')
}

async function loadHistory({ client, store, signal }: Round): Promise<void> {
  const since = Date.now() - WINDOW_MS
  for (const { id } of store.get().devices.filter(({ state }) => state !== 'removed')) {
    const rows = await client.history(id, since, signal)
    store.set({ series: withHistory(store.get().series, id, rows) })
  }
}

/** One device after the other, again and again: what they let this one do, and its values. */
async function followUses(round: Round): Promise<void> {
  const { store, signal } = round
  while (!signal.aborted) {
    for (const { id, state } of store.get().devices) {
      if (state !== 'removed') await loadUse(round, id)
    }
    await pause(USES_MS, signal)
  }
}

/** Never rejects: a device that says nothing is no reason to begin anew. */
async function loadUse({ client, store, signal }: Round, device: string): Promise<void> {
  const found = await loadUses(client, device, signal).catch(() => undefined)
  if (signal.aborted) return
  const uses = new Map(store.get().uses)
  if (found === undefined) uses.delete(device)
  else uses.set(device, found)
  store.set({ uses })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) end()
  })
}

interface Bell {
  readonly ring: () => void
  /** Until the bell rings, for `ms`, or until `signal` aborts. */
  wait(ms: number | undefined, signal?: AbortSignal): Promise<void>
}

/** All who wait hear it; rung with nobody waiting, it is heard by the next one. */
function createBell(): Bell {
  const waiting = new Set<() => void>()
  let rung = false
  return {
    ring() {
      rung = waiting.size === 0
      for (const wake of waiting) wake()
    },
    wait: (ms, signal) =>
      new Promise((resolve) => {
        const wake = (): void => {
          clearTimeout(timer)
          waiting.delete(wake)
          signal?.removeEventListener('abort', wake)
          resolve()
        }
        const timer = ms === undefined ? undefined : setTimeout(wake, ms)
        waiting.add(wake)
        signal?.addEventListener('abort', wake, { once: true })
        if (rung || signal?.aborted === true) wake()
        rung = false
      }),
  }
}
