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
  type Logger,
  type Random,
} from '../node/index.ts'
import { NO_RULES, type GatewaySettings } from './config.ts'
import type { SinkSettings } from './config-sinks.ts'
import { openDirectory, type Directory } from './directory.ts'
import { createDownlink, type Downlink } from './downlink.ts'
import { forward, readingItem } from './forward.ts'
import { openLedger, type EgressDay, type Ledger } from './ledger/ledger.ts'
import { openOutbox, type Outbox } from './outbox/outbox.ts'
import { policyOf, type Policy } from './policy.ts'
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
const AGAIN_MS = 5000

export async function startBridge(deps: BridgeDeps, signal: AbortSignal): Promise<Bridge> {
  const { device, clock, log, dataDir } = deps
  const scope = new Scope()
  const until = AbortSignal.any([signal, scope.signal])
  const folder = join(dataDir, 'gateway')
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const state = { settings: NO_RULES, policy: policyOf(NO_RULES, [], []) }
    const known = new Map<string, OutItem>()
    const directory = await openDirectory(join(folder, 'sensors.json'), log)
    let taken = 0
    let parts: { readonly sinks: RunningSinks } | undefined
    const renew = (settings: GatewaySettings = state.settings): void => {
      state.settings = settings
      const before = state.policy.refusals.map(({ why }) => why)
      state.policy = policyOf(settings, device.policy().caps, device.devices())
      // Without a home there is nobody to sign, and no device that a rule could name.
      if (device.home() !== undefined) tellRefusals(state.policy, before, log)
      void parts?.sinks.apply(settings).catch(() => undefined)
    }
    const rules = await watchRules(deps.rulesPath, { clock, log, onChange: renew }, until)
    const outbox = await scope.use('outbox', () =>
      openOutbox(
        { path: join(folder, 'outbox.db'), maxBytes: rules.now().outbox.maxBytes },
        { clock, random: deps.random, log, sign: device.sign.bind(device) },
      ),
    )
    // Opened with the first sink: its rows are signed, for which there must be a home.
    let opened: Ledger | undefined
    const ledger = (): Ledger =>
      (opened ??= openLedger(join(folder, 'ledger.db'), { clock, sign: device.sign.bind(device) }))
    await scope.use('ledger', () => ({
      [Symbol.asyncDispose]: async () => opened?.[Symbol.asyncDispose](),
    }))
    const downlink = createDownlink({ clock, log, policy: () => state.policy, device })
    const make = (settings: SinkSettings, end: AbortSignal): Promise<Sink> =>
      startSink(settings, sinkDeps(deps, settings.name, { downlink, folder, ledger }), end)
    const sinks = await scope.use('sinks', () =>
      runSinks(
        {
          log,
          directory,
          devices: () => device.devices(),
          policy: () => state.policy,
          start: make,
          outbox,
        },
        until,
      ),
    )
    parts = { sinks }
    renew(rules.now())
    follow({ device, directory, clock, renew }, until)
    const onReading = (reading: Parameters<typeof readingItem>[0]): void => {
      const key = `${reading.deviceId}/${reading.sensor}`
      if (known.has(key) || known.size < MAX_KNOWN) known.set(key, readingItem(reading))
      taken++
      if (directory.see(reading)) renew()
    }
    await scope.use('forwarding', () =>
      keepForwarding(
        {
          clock,
          log,
          deliveries: (cursor, end) => device.deliveries(cursor, end),
          policy: () => state.policy,
          outbox,
          onReading,
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
      policy: () => state.policy,
      known: () => [...known.values()],
      taken: () => taken,
      egress: () => (device.home() === undefined ? [] : ledger().egress()),
      async sampleOf(name, { items, devices }, end) {
        const running = sinks.get(name)
        if (running !== undefined) return running.sample(items, devices)
        const settings = state.settings.sinks.find((one) => one.name === name)
        if (settings === undefined) throw new Error(`there is no sink ${name}`)
        await using still = await make(settings, end)
        return still.sample(items, devices)
      },
      async [Symbol.asyncDispose]() {
        await scope[Symbol.asyncDispose]()
        await directory.save().catch(() => undefined)
      },
    }
  } catch (error) {
    await scope[Symbol.asyncDispose]()
    throw error
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

/** Sentences that were not said before. */
function tellRefusals(policy: Policy, before: readonly string[], log: Logger): void {
  for (const { rule, sink, why } of policy.refusals) {
    if (!before.includes(why)) log.warn({ rule, sink, why }, 'a rule is not in force')
  }
}

interface FollowDeps {
  readonly device: GatewayDevice
  readonly directory: Directory
  readonly clock: Clock
  readonly renew: () => void
}

/** What the home changes: devices, names, signatures. */
function follow({ device, directory, clock, renew }: FollowDeps, signal: AbortSignal): void {
  const describe = (id: string): void => {
    void device.describe(id, signal).then(
      (model) => {
        directory.describe(id, model)
        renew()
      },
      // It is away, or tells nothing: asked again when it is back.
      () => undefined,
    )
  }
  const { events } = device
  events.on(
    'device',
    ({ id, state, self, dueAtMs }) => {
      if (state === 'asleep' && dueAtMs !== undefined) directory.sleeps(id, dueAtMs - clock.now())
      if (state === 'online' && !self) describe(id)
      renew()
    },
    signal,
  )
  events.on(
    'removed',
    ({ id }) => {
      directory.forget(id)
      renew()
    },
    signal,
  )
  const describeAll = (): void => {
    for (const { id, self, state } of device.devices()) {
      if (!self && state === 'online') describe(id)
    }
  }
  events.on(
    'policy',
    () => {
      renew()
      // Devices describe what the asker may use, which is another now.
      describeAll()
    },
    signal,
  )
  events.on('home', () => renew(), signal)
  describeAll()
}

/** A home may come later; what fails is begun again from what the outbox has. */
function keepForwarding(
  deps: Parameters<typeof forward>[0] & { readonly hasHome: () => boolean },
  signal: AbortSignal,
): AsyncDisposable {
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  const run = async (): Promise<void> => {
    while (!until.aborted) {
      try {
        if (deps.hasHome()) await forward(deps, until)
      } catch (error) {
        deps.log.error({ why: asError(error).message }, 'readings could not be taken, trying again')
      }
      await deps.clock.sleep(deps.hasHome() ? AGAIN_MS : AGAIN_MS / 5, until).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'))
      await running
    },
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
