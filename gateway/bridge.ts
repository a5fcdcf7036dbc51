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
import { readingItem, type ForwardDeps } from './forward.ts'
import { createInForce, type InForce } from './in-force.ts'
import { keepForwarding } from './keep-forwarding.ts'
import type { Verified } from './ledger/chain.ts'
import { openLedger, type EgressDay, type Ledger } from './ledger/ledger.ts'
import { openOutbox, type Outbox } from './outbox/outbox.ts'
import type { Policy } from './policy.ts'
import { watchRules, type Rules } from './rules.ts'
import { runSinks, type RunningSinks } from './sinks-up.ts'
import { createTurns } from './turns.ts'
import { startSink } from './sinks/index.ts'
import { watchUpdates } from './updates.ts'
import type { OutItem, Sink, SinkDeps } from './sinks/sink.ts'

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
  egress(): readonly EgressDay[]
  /** @throws NodeError NODE_NO_HOME */
  verify(): Verified
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
  const turns = createTurns(
    { leases: device.leases, outbox, clock, onChange: () => inForce.renew() },
    until,
  )
  const sinks = await scope.use('sinks', () =>
    runSinks({ log, directory, devices, policy, start: make, outbox, turns }, until),
  )
  inForce.onChange((settings) => void sinks.apply(settings).catch(() => undefined))
  inForce.renew(rules.now())
  follow({ device, directory, clock, renew: () => inForce.renew() }, until)
  const seen = createSeen(directory, () => inForce.renew())
  const deliveries: ForwardDeps['deliveries'] = (cursor, end) => device.deliveries(cursor, end)
  const hasHome = (): boolean => device.home() !== undefined
  const forwarding = { clock, log, deliveries, policy, outbox, onReading: seen.take, hasHome }
  await scope.use('forwarding', () => keepForwarding(forwarding, signal))
  void saveOften(directory, deps, until)
  void watchUpdates({ device, clock, log, onChange: told(directory, inForce) }, until)
  return {
    rules,
    outbox,
    sinks,
    downlink,
    directory,
    policy,
    known: seen.known,
    egress: () => (device.home() === undefined ? [] : ledger().egress()),
    verify: () => ledger().verify(),
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]()
      await directory.save().catch(() => undefined)
    },
  }
}

function told(
  directory: Directory,
  inForce: InForce,
): Parameters<typeof watchUpdates>[0]['onChange'] {
  return (versions) => {
    directory.updates(versions)
    inForce.renew()
  }
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
  const [sign, opened] = [device.sign.bind(device), device.opened.bind(device)]
  const outbox = await scope.use('outbox', () =>
    openOutbox(
      { path: join(folder, 'outbox.db'), maxBytes: rules.now().outbox.maxBytes },
      { clock, random, log, sign },
    ),
  )
  // Opened with the first sink: its rows are signed, for which there must be a home.
  let only: Ledger | undefined
  const ledger = (): Ledger =>
    (only ??= openLedger(join(folder, 'ledger.db'), { clock, sign, opened }))
  await scope.use('ledger', () => ({
    [Symbol.asyncDispose]: async () => only?.[Symbol.asyncDispose](),
  }))
  return { outbox, ledger }
}

interface Seen {
  readonly take: (reading: GatewayReading) => void
  readonly known: () => readonly OutItem[]
}

/** Readings as they come: the last of each sensor. */
function createSeen(directory: Directory, renew: () => void): Seen {
  const known = new Map<string, OutItem>()
  return {
    take(reading) {
      const key = `${reading.deviceId}/${reading.sensor}`
      if (known.has(key) || known.size < MAX_KNOWN) known.set(key, readingItem(reading))
      if (directory.see(reading)) renew()
    },
    known: () => [...known.values()],
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
): SinkDeps {
  return {
    clock,
    random,
    log: log.child({ sink }),
    meter: ledger().meter(sink),
    gateway: aboutGateway(device),
    folder: join(folder, `sink-${sink}`),
    ask: (wanted) => downlink.ask(sink, wanted, new AbortController().signal),
  }
}

export function aboutGateway(device: GatewayDevice): SinkDeps['gateway'] {
  const self = device.devices().find((one) => one.self)
  return { id: device.id, name: self?.name ?? 'gateway', version: device.version }
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
