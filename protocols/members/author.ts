/**
 * Making membership ops. Every function signs one op on top of what `ops` knows, checks on a copy of
 * the set that it takes effect, and returns it; the caller stores it and then adds it. Nothing here
 * changes the set, and no op is made that other devices would ignore.
 */
import type { Random } from '../env.ts'
import { KEY_BYTES, type Signer } from '../identity/index.ts'
import { compareBytes, equalBytes, toHex } from '../wire/index.ts'
import { depthOf, mayRevoke, type Grant } from './authority.ts'
import type { LaterPayload, Paired, PayloadOf, Reason } from './messages.ts'
import type { OpSet } from './op-set.ts'
import { parentsOf, sealOp, successionStatement, type Op } from './op.ts'
import { covers } from './past.ts'
import { CAPS, MembersError } from './protocol.ts'
import { reduce } from './reduce.ts'
import { permits, type Act, type Role } from './roles.ts'
import type { HomeState } from './state.ts'

export interface AuthorContext {
  readonly ops: OpSet
  readonly signer: Signer
  /** UTC milliseconds, put into the op for people to read. Decides nothing. */
  readonly nowMs: number
}

export interface NewHome {
  readonly name: string
  /** The first owner: this device. */
  readonly signer: Signer
  readonly deviceName: string
  /** Public key of the recovery kit, 32 bytes. */
  readonly recoveryKey: Uint8Array
  readonly random: Random
  readonly nowMs: number
  readonly policy?: Uint8Array
}

/** The op that makes a home; its id is the home's id. @throws MembersError MEMBERS_BAD_OP */
export function createHome(home: NewHome): Op {
  const { name, signer, deviceName, recoveryKey, random, nowMs } = home
  return sealOp(
    {
      v: 1,
      seq: 0,
      ts: nowMs,
      type: 'genesis',
      body: {
        nonce: random.bytes(KEY_BYTES),
        owner: signer.key,
        recovery: recoveryKey,
        name,
        deviceName,
        policy: home.policy ?? new Uint8Array(),
      },
    },
    signer,
  )
}

export interface NewGrant {
  readonly subject: Uint8Array
  readonly role: Role
  readonly name: string
  readonly caps?: readonly string[]
  readonly expiresAtMs?: number
  readonly paired: Paired
}

/**
 * Let a device in. One that is in already needs `regrant`: of two grants the lesser would win.
 *
 * @throws MembersError MEMBERS_NOT_PERMITTED, MEMBERS_ALREADY_MEMBER, MEMBERS_TOO_DEEP, MEMBERS_BAD_OP
 */
export function grant(context: AuthorContext, wanted: NewGrant): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'grant')
  const { subject, role, name, paired, expiresAtMs } = wanted
  if (state.devices.has(toHex(subject))) throw new MembersError('MEMBERS_ALREADY_MEMBER')
  if (depthOf(acts) >= CAPS.maxDepth) throw new MembersError('MEMBERS_TOO_DEEP')
  const caps = [...new Set(wanted.caps)].toSorted((a, b) => (a < b ? -1 : 1))
  const body = {
    subject,
    role,
    name,
    caps,
    paired,
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
  }
  return author(context, state, acts, { type: 'grant', body })
}

/**
 * Change role, caps, end or quarantine of a device that is in: a revocation of what it had, its acts
 * kept, and a new grant. Both ops belong together.
 *
 * @throws MembersError MEMBERS_NOT_PERMITTED, MEMBERS_UNKNOWN_DEVICE, MEMBERS_TOO_DEEP, MEMBERS_BAD_OP
 */
export function regrant(context: AuthorContext, wanted: NewGrant): readonly [Op, Op] {
  const first = revoke(context, { subject: wanted.subject, reason: 'changed' })
  const ops = context.ops.fork()
  ops.add(first.bytes)
  return [first, grant({ ...context, ops }, wanted)]
}

export interface NewRevocation {
  readonly subject: Uint8Array
  readonly reason: Reason
  /** Ops of the subject that stay: these and what is in their past. Default: all that we know. */
  readonly cut?: readonly Uint8Array[]
  /** Newest telemetry seq of the subject that is still accepted. */
  readonly lastSeq?: number
}

/**
 * Put a device out. Undoes its acts after `cut`; see `cutBefore`.
 *
 * @throws MembersError MEMBERS_NOT_PERMITTED, MEMBERS_UNKNOWN_DEVICE, MEMBERS_BAD_OP
 */
export function revoke(context: AuthorContext, wanted: NewRevocation): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'revoke')
  const { subject, reason, lastSeq } = wanted
  const held = state.grants.filter(({ holder }) => holder === toHex(subject))
  const known = context.ops.grantsTo(toHex(subject))
  if (known.length === 0) throw new MembersError('MEMBERS_UNKNOWN_DEVICE')
  // Not only live grants: an earlier cut for a device that is out already undoes more of its acts.
  const targets = held.length > 0 ? held : known
  if (!targets.every((target) => mayRevoke(acts, target))) {
    throw new MembersError('MEMBERS_NOT_PERMITTED', 'not below the signer')
  }
  const cut = (wanted.cut ?? parentsFor(context, state, acts)).toSorted(compareBytes)
  const body = { subject, reason, cut, ...(lastSeq === undefined ? {} : { lastSeq }) }
  return author(context, state, acts, { type: 'revoke', body })
}

/**
 * A cut that keeps what `subject` signed before `timeMs` by its own account, and undoes the rest.
 * For a device stolen at a known time. A thief can lie about times only in ops after the theft, and
 * the first op at or after `timeMs` ends what is kept.
 */
export function cutBefore(ops: OpSet, subject: Uint8Array, timeMs: number): readonly Uint8Array[] {
  const own = ops.entries
    .map(({ op }) => op)
    .filter(({ signer }) => equalBytes(signer, subject))
    .toSorted((a, b) => a.payload.seq - b.payload.seq)
  const end = own.findIndex(({ payload }) => payload.ts >= timeMs)
  const last = own.slice(0, end === -1 ? own.length : end).at(-1)
  return last === undefined ? [] : [last.id]
}

/** Name a device, or the home where `subject` is undefined. @throws MembersError */
export function rename(context: AuthorContext, subject: Uint8Array | undefined, name: string): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'rename')
  if (subject === undefined) return author(context, state, acts, { type: 'rename', body: { name } })
  if (!state.devices.has(toHex(subject))) throw new MembersError('MEMBERS_UNKNOWN_DEVICE')
  return author(context, state, acts, { type: 'rename', body: { subject, name } })
}

/** Replace the policy of the home: at most 2,048 bytes. @throws MembersError */
export function setPolicy(context: AuthorContext, policy: Uint8Array): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'policy')
  return author(context, state, acts, { type: 'policy', body: { policy } })
}

/** Attest the present state, so that a device long away can tell how old its view is. */
export function checkpoint(context: AuthorContext): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'checkpoint')
  const heads = parentsFor(context, state, acts)
  const body = { heads, stateHash: state.hash, timeMs: context.nowMs }
  return author(context, state, acts, { type: 'checkpoint', body })
}

/**
 * Leave the home. One op ends one grant; a device with several calls this until it has none.
 *
 * @throws MembersError MEMBERS_NOT_PERMITTED where it holds none
 */
export function retire(context: AuthorContext, lastSeq?: number): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'retire')
  const body = lastSeq === undefined ? {} : { lastSeq }
  return author(context, state, acts, { type: 'retire', body })
}

/** Hand an owner's seat to a new key, which signs too. @throws MembersError */
export function succeed(context: AuthorContext, newSigner: Signer): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'successor')
  const subject = newSigner.key
  if (state.devices.has(toHex(subject))) throw new MembersError('MEMBERS_ALREADY_MEMBER')
  const { signer, ops } = context
  const proof = newSigner.sign(
    successionStatement({ home: ops.home, oldKey: signer.key, newKey: subject, auth: acts.id }),
  )
  return author(context, state, acts, { type: 'successor', body: { subject, proof } })
}

/** With the recovery key as signer: make a device an owner, beside the founder. @throws MembersError */
export function recover(context: AuthorContext, subject: Uint8Array, name: string): Op {
  const state = reduce(context.ops)
  const acts = authorityFor(context, state, 'recover')
  if (state.devices.get(toHex(subject))?.role === 'owner') {
    throw new MembersError('MEMBERS_ALREADY_MEMBER')
  }
  return author(context, state, acts, { type: 'recover', body: { subject, name } })
}

/** The signer's live grant of most reach that permits `act`. */
function authorityFor({ ops, signer }: AuthorContext, state: HomeState, act: Act): Grant {
  if (ops.recovery !== undefined && equalBytes(signer.key, ops.recovery.subject)) {
    if (permits('recovery', act)) return ops.recovery
    throw new MembersError('MEMBERS_NOT_PERMITTED', `recovery: ${act}`)
  }
  const holder = toHex(signer.key)
  const role = state.devices.get(holder)?.role
  const [best] = state.grants
    .filter((one) => one.holder === holder && permits(one.role, act))
    .toSorted((a, b) => depthOf(a) - depthOf(b))
  if (role === undefined || best === undefined || !permits(role, act)) {
    throw new MembersError('MEMBERS_NOT_PERMITTED', `${role ?? 'not a member'}: ${act}`)
  }
  return best
}

type Content = {
  [K in LaterPayload['type']]: Pick<PayloadOf<K>, 'type' | 'body'>
}[LaterPayload['type']]

function author(context: AuthorContext, state: HomeState, acts: Grant, content: Content): Op {
  const { ops, signer, nowMs } = context
  const own = lastOwn(ops, signer.key)
  const header = {
    v: 1,
    home: ops.home,
    prev: parentsFor(context, state, acts),
    auth: acts.id,
    seq: own === undefined ? 0 : own.payload.seq + 1,
    ts: nowMs,
    ...(own === undefined ? {} : { own: own.id }),
  }
  const op = sealOp({ ...header, ...content }, signer)
  const after = ops.fork()
  after.add(op.bytes)
  if (!reduce(after).isEffective(op.hex)) throw new MembersError('MEMBERS_NO_EFFECT', content.type)
  return op
}

function lastOwn({ entries }: OpSet, key: Uint8Array): Op | undefined {
  let last: Op | undefined
  for (const { op } of entries) {
    if (equalBytes(op.signer, key) && op.payload.seq >= (last?.payload.seq ?? 0)) last = op
  }
  return last
}

/**
 * All heads. Only a hostile key makes more than fit into one op: then what an effective op stands
 * on comes first, and the rest is left to later ops.
 */
function parentsFor(
  { ops, signer }: AuthorContext,
  state: HomeState,
  acts: Grant,
): readonly Uint8Array[] {
  const heads = ops.heads()
  if (heads.length <= CAPS.maxParents) return heads
  const needed = [lastOwn(ops, signer.key)?.id, acts.id].flatMap((id) => id ?? [])
  const chosen = new Map(needed.map((id) => [toHex(id), id]))
  const wanted = [...effectiveTips(ops, state), ...heads]
  for (const id of wanted) {
    if (chosen.size >= CAPS.maxParents) break
    chosen.set(toHex(id), id)
  }
  return [...chosen.values()].toSorted(compareBytes)
}

function effectiveTips({ entries }: OpSet, state: HomeState): readonly Uint8Array[] {
  const effective = entries.filter(({ op }) => state.isEffective(op.hex))
  const hasChild = new Set(effective.flatMap(({ op }) => parentsOf(op).map(toHex)))
  return effective
    .filter(({ op, index }) => {
      if (hasChild.has(op.hex)) return false
      return !effective.some((other) => other.index > index && covers(other.past, index))
    })
    .map(({ op }) => op.id)
}
