/**
 * The composition root: opens the folder, the key and the database, and joins services, mesh and
 * view. What the device is in depends on whether it has a home; that part starts and stops as a
 * whole (device/home.ts). No logic lives here.
 */
import { rm } from 'node:fs/promises'

import { grant, mayAct, reduce, regrant, type Op, type OpSet } from '../protocols/members/index.ts'
import { PAIRING } from '../protocols/pairing/index.ts'
import { toHex } from '../protocols/wire/index.ts'
import type { NodeView } from './api/view.ts'
import type { Config } from './config.ts'
import type { DeviceBase, Launched } from './device/base.ts'
import { backupView } from './device/backup.ts'
import { FILES, openBase, opSetOf, storedOps } from './device/open-base.ts'
import { exportView } from './device/export.ts'
import { startHome, type Home } from './device/home.ts'
import { lateUpdateView } from './device/late-updates.ts'
import { powerReport } from './device/power.ts'
import { isGiven } from './device/readers.ts'
import { trustView } from './device/trust.ts'
import { callsView } from './device/view-calls.ts'
import { careView } from './device/view-care.ts'
import { asNodeError } from './device/membership-refusals.ts'
import { devicesView } from './device/view-devices.ts'
import { alreadyHome, homeView, pairingView, type HomeKeeper } from './device/view-home.ts'
import { incidentsView } from './device/view-incidents.ts'
import { powerView } from './device/view-power.ts'
import { readingsView } from './device/view-readings.ts'
import type { Clock, Random } from './env.ts'
import { NodeError } from './errors.ts'
import { Scope } from './lifecycle.ts'
import type { Logger } from './log.ts'
import { dialCandidate, findCandidates, startPairingListener } from './mesh/pairing-host.ts'
import { createAdmission, type Admission } from './services/admission.ts'
import { createCandidate, type Candidate } from './services/pairing.ts'
import { createWindowStore } from './storage/counters.ts'
import { forgetDevice } from './storage/first-start.ts'
import { updateFolders } from './update-folders.ts'

export interface NodeDeps {
  readonly config: Config
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Called after a factory reset: this node is to end. */
  readonly onReset: () => void
  /** Where a launcher runs it. */
  readonly launched?: Launched | undefined
}

export interface DeviceNode extends AsyncDisposable {
  readonly view: NodeView
  readonly base: DeviceBase
  /** Undefined without a home. */
  readonly home: () => Home | undefined
  /** The process is about to end by this error: keep what may be told of it. Never throws. */
  crashed(error: unknown): void
}

/** A candidate answers within this, or it is not there. */
const FIND_MS = 5_000

/** @throws NodeError NODE_LOCKED, NODE_KEY_FILE, NODE_DATABASE, NODE_DENIED */
export async function startNode(deps: NodeDeps, signal: AbortSignal): Promise<DeviceNode> {
  const startedAt = deps.clock.now()
  const scope = new Scope()
  try {
    const node = await compose(deps, scope, { signal, startedAt })
    return {
      ...node,
      crashed: (error) => node.base.marker.failed(error),
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    }
  } catch (error) {
    await scope[Symbol.asyncDispose]()
    throw error
  }
}

async function compose(
  deps: NodeDeps,
  scope: Scope,
  { signal, startedAt }: { readonly signal: AbortSignal; readonly startedAt: number },
): Promise<Pick<DeviceNode, 'view' | 'base' | 'home'>> {
  const base = await openBase(deps, scope)
  const keeper = await createKeeper(base, AbortSignal.any([signal, scope.signal]))
  await scope.use('home', () => keeper)
  const candidate = await scope.use('pairing', () => candidateOf(base, keeper))
  const admission = admissionOf(base, keeper)
  const view: NodeView = {
    ...homeView(base, keeper, candidate, startedAt),
    ...pairingView(base, keeper, candidate, admission),
    ...devicesView(base, keeper),
    ...readingsView(base, keeper.requireHome),
    ...exportView(base, keeper.requireHome),
    ...backupView(base),
    ...trustView(base, keeper.requireHome),
    ...incidentsView(base, keeper.requireHome),
    ...callsView(base, keeper.requireHome),
    ...lateUpdateView(base, keeper.requireHome),
    ...powerView(() => powerReport(deps.config.power, base.wakes)),
    ...careView(base, keeper.home, async () => {
      await forgetDevice(deps.config.paths.dataDir, FILES)
      // What was believed of channels, and the keys that kept them fresh.
      await rm(updateFolders(deps.config.paths).state, { recursive: true, force: true })
      deps.onReset()
    }),
  }
  base.marker.stage('running')
  return { view, base, home: keeper.home }
}

interface Keeper extends HomeKeeper, AsyncDisposable {
  /** Check what pairing brought, store it, and start living in that home. */
  readonly join: (home: Uint8Array, ops: readonly Uint8Array[], role: string) => Promise<void>
}

async function createKeeper(base: DeviceBase, signal: AbortSignal): Promise<Keeper> {
  let current: Home | undefined
  const enter = async (ops: OpSet): Promise<Home> => {
    current = await startHome(base, ops, signal)
    current.sleeper?.cycle()
    return current
  }
  const store = (ops: OpSet): void =>
    base.ops.append(
      ops.home,
      ops.entries.map(({ op }) => op),
    )
  const moveIn = async (ops: OpSet): Promise<Home> => {
    store(ops)
    try {
      return await enter(ops)
    } catch (error) {
      // Better no home than one that people were told this device is not in.
      base.ops.forget()
      throw error
    }
  }

  const comeBack = async (home: Uint8Array): Promise<void> => {
    const before = current
    current = undefined
    await before?.[Symbol.asyncDispose]()
    await enter(storedOps(base, home))
  }

  const known = base.ops.home()
  if (known !== undefined) await enter(storedOps(base, known))
  return {
    home: () => current,
    requireHome() {
      if (current !== undefined) return current
      throw new NodeError('NODE_NO_HOME', 'This device has no home yet.', {
        hint: 'Make one with "kith home create NAME", or add this device to one with "kith pair".',
      })
    },
    async found(genesis: Op) {
      if (current !== undefined) throw alreadyHome()
      return moveIn(opSetOf(base, genesis.id, [genesis.bytes]))
    },
    async join(home, received, role) {
      const ops = opSetOf(base, home, received)
      const device = reduce(ops).devices.get(toHex(base.signer.key))
      if (device?.role !== role) throw new NodeError('NODE_DENIED', 'The grant is not for this.')
      if (current === undefined) await moveIn(ops)
      else {
        store(ops)
        // It had no place until now: everything begins anew with what it is allowed.
        if (current.members.self === undefined) await comeBack(home)
      }
    },
    async [Symbol.asyncDispose]() {
      await current?.[Symbol.asyncDispose]()
    },
  }
}

function candidateOf(base: DeviceBase, keeper: Keeper): Candidate {
  const { signer, seed, config, clock, random, log, journal, db } = base
  return createCandidate({
    key: signer.key,
    name: () => config.device.name,
    store: createWindowStore(db),
    clock,
    random,
    log: log.child({ part: 'pairing' }),
    journal,
    listen: ({ discriminator, handle }, signal) =>
      startPairingListener(
        {
          seed: seed.reveal(),
          name: config.device.name,
          discriminator,
          protocol: PAIRING,
          multicast: config.mesh.multicast,
          ...interfacesOf(config),
          clock,
          random,
          log: log.child({ part: 'pairing' }),
          handle,
        },
        signal,
      ),
    accept: (ops, home, role) => keeper.join(home, ops, role),
    joined({ memberKey }) {
      const { state } = keeper.requireHome().members
      return { homeName: state.name, byName: state.devices.get(toHex(memberKey))?.name ?? '' }
    },
  })
}

function admissionOf(base: DeviceBase, keeper: HomeKeeper): Admission {
  const { signer, seed, clock, random, config } = base
  const log = base.log.child({ part: 'pairing' })
  return createAdmission({
    key: signer.key,
    random,
    log,
    requireHome() {
      const { members } = keeper.requireHome()
      const { self } = members
      if (self !== undefined && mayAct(self, 'grant', clock.now())) return members.home
      throw new NodeError('NODE_DENIED', 'Only an owner’s device can add devices.', {
        hint: 'Run this on an owner’s device: kith devices shows which ones are.',
      })
    },
    find: async (discriminator, signal) =>
      config.mesh.multicast
        ? findCandidates(
            { discriminator, waitMs: FIND_MS, ...interfacesOf(config), clock, random, log },
            signal,
          )
        : [],
    dial: (candidate, run, signal) =>
      dialCandidate(
        { seed: seed.reveal(), ...candidate, protocol: PAIRING, clock, log },
        run,
        signal,
      ),
    async grant({ key, caps = [], ...rest }) {
      const wanted = { ...rest, caps }
      const { members } = keeper.requireHome()
      const known = members.state.devices.get(toHex(key))
      // A second try after an acknowledgement was lost: the grant is there already.
      if (!isGiven(known, wanted)) {
        const make = known === undefined ? grant : regrant
        asNodeError(() => members.act((context) => make(context, { subject: key, ...wanted })))
      }
      return members.ops.entries.map(({ op }) => op.bytes)
    },
  })
}

/** Every interface where none is named. */
function interfacesOf({ mesh }: Config): { readonly interfaces?: readonly string[] } {
  return mesh.interfaces.length > 0 ? { interfaces: mesh.interfaces } : {}
}
