/**
 * The bridge beside a running device: rules, signed policy, outbox and sinks put together. Where no
 * rule and no signature let anything out there is nothing here that could reach the outside.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import {
  asError,
  Scope,
  type Clock,
  type GatewayDevice,
  type GatewayReading,
  type Logger,
  type Random,
} from '../node/index.ts'
import type { SinkSettings } from './config-sinks.ts'
import { openDirectory, type Directory } from './directory.ts'
import { createDownlink, type Downlink } from './downlink.ts'
import { follow } from './follow.ts'
import { readingItem } from './forward.ts'
import { createInForce, type InForce } from './in-force.ts'
import { keepForwarding } from './keep-forwarding.ts'
import { openLedger, type EgressDay, type Ledger } from './ledger/ledger.ts'
import { openOutbox, type Outbox } from './outbox/outbox.ts'
import type { Policy } from './policy.ts'
import { watchRules, type Rules } from './rules.ts'
import { runSinks, type RunningSinks } from './sinks-up.ts'
import { startSink } from './sinks/index.ts'
import type { OutItem, Sample, Sink, SinkDevice } from './sinks/sink.ts'

export interface BridgeDeps {
  readonly device: GatewayDevice
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly dataDir: string
  readonly rulesPath: string
}

export interface Bridge extends AsyncDisposable {
  readonly rules: Rules
  readonly outbox: Outbox
  readonly sinks: RunningSinks
  readonly downlink: Downlink
  readonly directory: Directory
  policy(): Policy
  /** The last reading of each sensor. */
  known(): readonly OutItem[]
  /** What these would be in the words of a sink; one that does not run is made and left again. */
  sampleOf(name: string, of: Sampled, signal: AbortSignal): Promise<readonly Sample[]>
  /** Readings that came since the start. */
  taken(): number
  egress(): readonly EgressDay[]
}

interface Sampled {
  readonly items: readonly OutItem[]
  readonly devices: readonly SinkDevice[]
}

/** Sensors of which the last reading is kept. */
const MAX_KNOWN = 2000
const SAVE_MS = 5000

export async function startBridge(deps: BridgeDeps, signal: AbortSignal): Promise<Bridge> {
  const scope = new Scope()
  try {
    return await assemble(deps, scope, signal)
  } catch (error) {
    await scope[Symbol.asyncDispose]()
    throw error
  }
}

async function assemble(deps: BridgeDeps, scope: Scope, signal: AbortSignal): Promise<Bridge> {
  const { device, clock, log } = deps
  const until = AbortSignal.any([signal, scope.signal])
  const folder = join(deps.dataDir, 'gateway')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const inForce = createInForce({ device, log })
  const directory = await openDirectory(join(folder, 'sensors.json'), log)
  const rules = await watchRules(
    deps.rulesPath,
    { clock, log, onChange: (settings) => inForce.renew(settings) },
    until,
  )
  const { outbox, ledger } = await openStores(deps, folder, rules, scope)
  const policy = (): Policy => inForce.policy()
  const downlink = createDownlink({ clock, log, policy, device })
  const make = (settings: SinkSettings, end: AbortSignal): Promise<Sink> =>
    startSink(settings, sinkDeps(deps, settings.name, { downlink, folder, ledger }), end)
  const devices = (): ReturnType<GatewayDevice['devices']> => device.devices()
  const sinks = await scope.use('sinks', () =>
    runSinks({ log, directory, devices, policy, start: make, outbox }, until),
  )
  inForce.onChange((settings) => void sinks.apply(settings).catch(() => undefined))
  inForce.renew(rules.now())
  follow({ device, directory, clock, renew: () => inForce.renew() }, until)
  const seen = createSeen(directory, () => inForce.renew())
  await scope.use('forwarding', () =>
    keepForwarding(
      {
        clock,
        log,
        deliveries: (cursor, end) => device.deliveries(cursor, end),
        policy,
        outbox,
        onReading: seen.take,
        hasHome: () => device.home() !== undefined,
      },
      signal,
    ),
  )
  void saveOften(directory, deps, until)
  return {
    rules,
    outbox,
    sinks,
    downlink,
    directory,
    policy,
    known: seen.known,
    taken: seen.count,
    egress: () => (device.home() === undefined ? [] : ledger().egress()),
    sampleOf: (name, of, end) => sampleOf({ sinks, inForce, make }, name, of, end),
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]()
      await directory.save().catch(() => undefined)
    },
  }
}

interface Makers {
  readonly sinks: RunningSinks
  readonly inForce: InForce
  readonly make: (settings: SinkSettings, signal: AbortSignal) => Promise<Sink>
}

async function sampleOf(
  { sinks, inForce, make }: Makers,
  name: string,
  { items, devices }: Sampled,
  signal: AbortSignal,
): Promise<readonly Sample[]> {
  const running = sinks.get(name)
  if (running !== undefined) return running.sample(items, devices)
  const settings = inForce.settings().sinks.find((one) => one.name === name)
  if (settings === undefined) throw new Error(`there is no sink ${name}`)
  await using still = await make(settings, signal)
  return still.sample(items, devices)
}

interface Stores {
  readonly outbox: Outbox
  readonly ledger: () => Ledger
}

async function openStores(
  { clock, random, log, device }: BridgeDeps,
  folder: string,
  rules: Rules,
  scope: Scope,
): Promise<Stores> {
  const sign = device.sign.bind(device)
  const outbox = await scope.use('outbox', () =>
    openOutbox(
      { path: join(folder, 'outbox.db'), maxBytes: rules.now().outbox.maxBytes },
      { clock, random, log, sign },
    ),
  )
  // Opened with the first sink: its rows are signed, for which there must be a home.
  let opened: Ledger | undefined
  const ledger = (): Ledger => (opened ??= openLedger(join(folder, 'ledger.db'), { clock, sign }))
  await scope.use('ledger', () => ({
    [Symbol.asyncDispose]: async () => opened?.[Symbol.asyncDispose](),
  }))
  return { outbox, ledger }
}

interface Seen {
  readonly take: (reading: GatewayReading) => void
  readonly known: () => readonly OutItem[]
  readonly count: () => number
}

/** Readings as they come: the last of each sensor, and how many. */
function createSeen(directory: Directory, renew: () => void): Seen {
  const known = new Map<string, OutItem>()
  let count = 0
  return {
    take(reading) {
      const key = `${reading.deviceId}/${reading.sensor}`
      if (known.has(key) || known.size < MAX_KNOWN) known.set(key, readingItem(reading))
      count++
      if (directory.see(reading)) renew()
    },
    known: () => [...known.values()],
    count: () => count,
  }
}

interface SinkParts {
  readonly downlink: Downlink
  readonly folder: string
  readonly ledger: () => Ledger
}

function sinkDeps(
  { device, clock, random, log }: BridgeDeps,
  sink: string,
  { downlink, folder, ledger }: SinkParts,
): Parameters<typeof startSink>[1] {
  const self = device.devices().find((one) => one.self)
  return {
    clock,
    random,
    log: log.child({ sink }),
    meter: ledger().meter(sink),
    gateway: { id: device.id, name: self?.name ?? 'gateway', version: device.version },
    folder: join(folder, `sink-${sink}`),
    ask: (wanted) => downlink.ask(sink, wanted, new AbortController().signal),
  }
}

async function saveOften(
  directory: Directory,
  { clock, log }: BridgeDeps,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      await clock.sleep(SAVE_MS, signal)
    } catch {
      return
    }
    await directory.save().catch((error: unknown) => {
      log.warn({ why: asError(error).message }, 'the list of sensors could not be kept')
    })
  }
}
