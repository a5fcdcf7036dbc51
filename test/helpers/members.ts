import {
  createVerifier,
  sha256,
  signerFromSeed,
  type Signer,
} from '../../protocols/identity/index.ts'
import {
  createHome,
  createOpSet,
  reduce,
  sealOp,
  type AuthorContext,
  type HomeState,
  type Op,
  type OpPayload,
  type OpSet,
} from '../../protocols/members/index.ts'
import { compareBytes, equalBytes, toHex, utf8 } from '../../protocols/wire/index.ts'
import { seededRandom } from './random.ts'

export const START_MS = 1_800_000_000_000
export const verifier = createVerifier()

const signers = new Map<string, Signer>()

/** The key of a device known by one letter or word; the same in every run. */
export function signerNamed(name: string): Signer {
  const signer = signers.get(name) ?? signerFromSeed(sha256(utf8(`test device ${name}`)))
  signers.set(name, signer)
  return signer
}

export const keyNamed = (name: string): Uint8Array => signerNamed(name).key

/** Genesis by `founder` with the recovery key `kit`. */
export function genesisOf(founder = 'ann'): Op {
  return createHome({
    name: 'Garden Street',
    signer: signerNamed(founder),
    deviceName: founder,
    recoveryKey: keyNamed('kit'),
    random: seededRandom('home'),
    nowMs: START_MS,
  })
}

export function setOf(genesis: Op, ops: readonly Op[] = []): OpSet {
  const set = createOpSet(genesis.id, verifier)
  for (const { bytes } of [genesis, ...ops]) set.add(bytes)
  return set
}

export function as(ops: OpSet, who: string, nowMs = START_MS): AuthorContext {
  return { ops, signer: signerNamed(who), nowMs }
}

/** Add what a device made to its own set and hand it on. */
export function put(set: OpSet, ...ops: readonly Op[]): Op {
  for (const { bytes } of ops) set.add(bytes)
  const last = ops.at(-1)
  if (last === undefined) throw new RangeError('nothing to put')
  return last
}

export type Content = {
  [K in OpPayload['type']]: Pick<Extract<OpPayload, { type: K }>, 'type' | 'body'>
}[Exclude<OpPayload['type'], 'genesis'>]

export interface RawOp {
  readonly by: string
  /** Default: genesis. */
  readonly auth?: Uint8Array
  /** Default: all heads. */
  readonly prev?: readonly Uint8Array[]
  readonly content: Content
  readonly ts?: number
}

/** An op that nobody checked: what a hostile device with its own program would sign. */
export function rawOp(set: OpSet, { by, auth, prev, content, ts }: RawOp): Op {
  const signer = signerNamed(by)
  const parents = [...(prev ?? set.heads())].toSorted(compareBytes)
  const own = set.entries
    .map(({ op }) => op)
    .filter(
      (op) =>
        equalBytes(op.signer, signer.key) &&
        parents.some((parent) => set.isAncestor(op.id, parent)),
    )
    .toSorted((a, b) => a.payload.seq - b.payload.seq)
    .at(-1)
  const header = {
    v: 1,
    home: set.home,
    prev: parents,
    auth: auth ?? set.home,
    seq: own === undefined ? 0 : own.payload.seq + 1,
    ts: ts ?? START_MS,
    ...(own === undefined ? {} : { own: own.id }),
  }
  return sealOp({ ...header, ...content }, signer)
}

export function grantBody(subject: string, role: 'owner' | 'member' | 'sensor' | 'guest'): Content {
  return {
    type: 'grant',
    body: { subject: keyNamed(subject), role, name: subject, caps: [], paired: 'code' },
  }
}

export function revokeBody(subject: string, cut: readonly Uint8Array[]): Content {
  const sorted = [...cut].toSorted(compareBytes)
  return { type: 'revoke', body: { subject: keyNamed(subject), cut: sorted, reason: 'removed' } }
}

/** `name role` of every device, in order of name. */
export function rolesIn(set: OpSet): readonly string[] {
  return [...reduce(set).devices.values()].map(({ name, role }) => `${name} ${role}`).toSorted()
}

/** Everything that a state says, to compare by value. */
export function facts(state: HomeState): unknown {
  return {
    hash: toHex(state.hash),
    epoch: state.epoch,
    devices: [...state.devices.values()],
    removed: [...state.removed.values()],
    checkpoint: state.checkpoint,
  }
}
