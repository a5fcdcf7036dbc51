/** The home side of `NodeView`: status, making a home, joining one, and adding devices to it. */
import { fingerprintOf, homeText, keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import {
  createHome,
  createRecoveryKit,
  cutBefore,
  MembersError,
  parseRecoveryKit,
  recover,
  revoke,
  type AuthorContext,
  type HomeState,
  type Op,
  type RecoveryKit,
} from '../../protocols/members/index.ts'
import { equalBytes, fromHex, toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type {
  CreateHomeInput,
  MembershipView,
  NodeView,
  RecoverInput,
  StatusView,
} from '../api/view.ts'
import { NodeError } from '../errors.ts'
import type { Admission } from '../services/admission.ts'
import type { Candidate } from '../services/pairing.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { offersOf } from './offers.ts'
import { termsOf } from './readers.ts'
import { deviceRows } from './rows.ts'
import { asNodeError } from './membership-refusals.ts'
import { type HomeAccess } from './view-devices.ts'

type HomeView = Pick<NodeView, 'status' | 'recoveryKit' | 'createHome' | 'recover'>
type PairingView = Pick<NodeView, 'openPairing' | 'pairingStatus' | 'closePairing' | 'addDevice'>

export interface HomeKeeper extends HomeAccess {
  /** Store the op that makes a home, and start living in it. @throws NodeError NODE_CONFLICT */
  found(genesis: ReturnType<typeof createHome>): Promise<Home>
}

export function homeView(
  base: DeviceBase,
  keeper: HomeKeeper,
  candidate: Candidate,
  startedAt: number,
): HomeView {
  const startedMs = base.clock.monotonic()
  return {
    status: async () => ({
      ...statusOf(base, keeper.home()),
      startedAt,
      uptimeMs: Math.round(base.clock.monotonic() - startedMs),
    }),
    async recoveryKit() {
      const { groups, qrText, signer } = createRecoveryKit(base.random)
      return { groups, qr: qrText, publicKey: toHex(signer.key) }
    },
    async createHome(input) {
      const made = await create(base, keeper, input)
      // It cannot join another home any more.
      await candidate.close()
      return made
    },
    recover: async (input) => recoverWith(base, keeper.requireHome(), input),
  }
}

function statusOf(
  { signer, config, version }: DeviceBase,
  home: Home | undefined,
): Omit<StatusView, 'startedAt' | 'uptimeMs'> {
  const { key } = signer
  const self = home?.members.self
  return {
    version,
    device: {
      id: peerIdOf(key),
      name: self?.name ?? config.device.name,
      fingerprint: fingerprintOf(key),
    },
    home:
      home === undefined
        ? null
        : { id: homeText(home.members.home), name: home.members.state.name },
    role: self?.role ?? null,
    addrs: home?.mesh.addresses() ?? [],
    peers: home?.mesh.peers().length ?? 0,
  }
}

function membership({ signer }: DeviceBase, { members }: Home): MembershipView {
  return {
    home: homeText(members.home),
    name: members.state.name,
    device: peerIdOf(signer.key),
  }
}

async function create(
  base: DeviceBase,
  keeper: HomeKeeper,
  { name, deviceName, recoveryKey }: CreateHomeInput,
): Promise<MembershipView> {
  if (keeper.home() !== undefined) throw alreadyHome()
  const { signer, random, clock, config } = base
  const genesis = asNodeError(() =>
    createHome({
      name,
      signer,
      deviceName: deviceName ?? config.device.name,
      recoveryKey: fromHex(recoveryKey),
      random,
      nowMs: clock.now(),
    }),
  )
  return membership(base, await keeper.found(genesis))
}

export function alreadyHome(): NodeError {
  return new NodeError('NODE_CONFLICT', 'This device is in a home already.', {
    hint: 'Nothing was changed. To move it to another home, reset it first: kith reset.',
  })
}

/** @throws NodeError NODE_USAGE naming the group that is mistyped */
function readKit(text: string): RecoveryKit {
  try {
    return parseRecoveryKit(text)
  } catch (cause) {
    if (!(cause instanceof MembersError)) throw cause
    const where = cause.group === undefined ? '' : ` Look at group ${cause.group}.`
    throw new NodeError('NODE_USAGE', `The recovery kit does not read right.${where}`, {
      cause,
      hint: 'Nothing was changed. Type the eight groups as they are on the paper.',
    })
  }
}

/**
 * The kit's key signs, this device gains: it becomes an owner beside the founder, and the devices
 * named are put out, which no owner could do to one that stands beside or above it.
 */
function recoverWith(base: DeviceBase, home: Home, input: RecoverInput): MembershipView {
  const { members } = home
  const { signer } = readKit(input.kit)
  if (!equalBytes(signer.key, members.state.recoveryKey)) {
    throw new NodeError('NODE_DENIED', 'This recovery kit is not the one of this home.', {
      hint: 'Nothing was changed. Look for the paper that was written when this home was made.',
    })
  }
  const stolen = (input.remove ?? []).map((ref) => resolveDevice(ref, deviceRows(base, home)))
  if (stolen.some(({ self }) => self)) {
    throw new NodeError('NODE_CONFLICT', 'This device cannot both recover the home and be removed.')
  }
  const { key } = base.signer
  if (members.self?.role !== 'owner') {
    const name = nameOf(members.state, key) ?? base.config.device.name
    asNodeError(() => members.act((context) => recover({ ...context, signer }, key, name)))
  }
  for (const { id } of stolen) {
    asNodeError(() => members.act((context) => putOut(home, { ...context, signer }, id, input)))
  }
  return membership(base, home)
}

function nameOf({ devices, removed }: HomeState, key: Uint8Array): string | undefined {
  return devices.get(toHex(key))?.name ?? removed.get(toHex(key))?.name
}

function putOut(
  { telemetry }: Home,
  context: AuthorContext,
  id: string,
  { since }: RecoverInput,
): Op {
  const subject = keyOfPeerId(id)
  const cut = since === undefined ? {} : { cut: cutBefore(context.ops, subject, since) }
  const lastSeq = telemetry.lastSeq(subject)
  return revoke(context, { subject, reason: 'stolen', lastSeq, ...cut })
}

export function pairingView(
  base: DeviceBase,
  keeper: HomeKeeper,
  candidate: Candidate,
  admission: Admission,
): PairingView {
  return {
    async openPairing(input) {
      // One that knows a home, but has no place in it, such as one that was restored, can get one.
      if (keeper.home()?.members.self !== undefined) throw alreadyHome()
      return candidate.open(input)
    },
    pairingStatus: async () => candidate.status(),
    closePairing: () => candidate.close(),
    async addDevice({ allow, calls, forMs, ...input }, signal) {
      const home = keeper.requireHome()
      const { members, time } = home
      const offers = await offersOf(base, home, calls)
      const terms = termsOf(base, { members, time, offers }, input.role, { allow, calls, forMs })
      const { key, name, role } = await admission.add({ ...input, ...terms }, signal)
      return { device: peerIdOf(key), name, role, fingerprint: fingerprintOf(key) }
    },
  }
}
