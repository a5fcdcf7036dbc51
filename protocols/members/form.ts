/**
 * What must hold of an op before it is kept at all, judged from the op and its causal past alone,
 * so that every device keeps the same ops. Whether a kept op has an effect depends on the whole set
 * and is the business of effect.ts.
 */
import { IdentityError, requireTrustableKey, type Verifier } from '../identity/index.ts'
import { equalBytes, toHex } from '../wire/index.ts'
import { depthOf, mayRevoke, type Grant } from './authority.ts'
import type { LaterPayload, PayloadOf } from './messages.ts'
import { successionStatement, type Op } from './op.ts'
import { covers } from './past.ts'
import { CAPS, MembersError } from './protocol.ts'
import { permits } from './roles.ts'

/** One kept op and its place in the set. */
export interface Entry {
  readonly op: Op
  /** Position in the set: parents have lower ones. */
  readonly index: number
  /** Causal past, itself included; see past.ts. */
  readonly past: Uint32Array
  /** What the signer acts under; undefined for genesis. */
  readonly acts: Grant | undefined
  /** What the op gives, if it is effective. */
  readonly gives: Grant | undefined
  /** Of a revocation: positions of the ops in its cut. */
  readonly cut: readonly number[]
}

/** What judging needs to know of the set. */
export interface Known {
  readonly entries: readonly Entry[]
  readonly verifier: Verifier
  readonly recovery: Grant
  indexOf(id: Uint8Array): number | undefined
  /** Every grant that names the key (hexadecimal), effective or not. */
  grantsTo(holder: string): readonly Grant[]
}

export interface Candidate<P = LaterPayload> {
  readonly op: Op
  readonly payload: P
  readonly index: number
  readonly past: Uint32Array
}

/** The two grants of genesis. @throws MembersError MEMBERS_BAD_OP */
export function rootGrants(
  op: Op,
  payload: PayloadOf<'genesis'>,
): { owner: Grant; recovery: Grant } {
  const { owner, recovery } = payload.body
  requireKey(owner)
  requireKey(recovery)
  if (!equalBytes(op.signer, owner) || equalBytes(owner, recovery)) {
    throw new MembersError('MEMBERS_BAD_OP', 'keys of genesis')
  }
  const root = { index: 0, id: op.id, successions: 0, under: undefined }
  return {
    owner: { ...root, subject: owner, holder: toHex(owner), role: 'owner', line: [0] },
    recovery: { ...root, subject: recovery, holder: toHex(recovery), role: 'recovery', line: [] },
  }
}

/**
 * Judge an op whose parents are all known.
 *
 * @throws MembersError MEMBERS_BAD_OP, MEMBERS_NOT_PERMITTED, MEMBERS_UNKNOWN_DEVICE, MEMBERS_TOO_DEEP
 */
export function judge(candidate: Candidate, known: Known): Entry {
  const { op, payload, index, past } = candidate
  requireOwnChain(candidate, known)
  const acts = authorityOf(candidate, known)
  if (!permits(acts.role, payload.type)) {
    throw new MembersError('MEMBERS_NOT_PERMITTED', `${acts.role}: ${payload.type}`)
  }
  const gives = judgeBody(candidate, acts, known)
  const cut =
    payload.type === 'revoke' ? payload.body.cut.map((id) => indexIn(past, id, known)) : []
  return { op, index, past, acts, gives, cut }
}

/** `seq` counts on from `own`, which is the signer's and in the past. */
function requireOwnChain({ op, payload, past }: Candidate, known: Known): void {
  const { own, seq } = payload
  if (own === undefined) {
    if (seq !== 0) throw new MembersError('MEMBERS_BAD_OP', 'seq without own')
    return
  }
  const before = known.entries[indexIn(past, own, known)]?.op
  if (
    before === undefined ||
    !equalBytes(before.signer, op.signer) ||
    before.payload.seq + 1 !== seq
  ) {
    throw new MembersError('MEMBERS_BAD_OP', 'own or seq')
  }
}

/** Position of `id`. @throws MembersError MEMBERS_BAD_OP where it is not in the past */
function indexIn(past: Uint32Array, id: Uint8Array, known: Known): number {
  const index = known.indexOf(id)
  if (index === undefined || !covers(past, index)) {
    throw new MembersError('MEMBERS_BAD_OP', 'names an op outside its past')
  }
  return index
}

function authorityOf({ op, payload, past }: Candidate, known: Known): Grant {
  const index = indexIn(past, payload.auth, known)
  const fromRecovery = index === 0 && equalBytes(op.signer, known.recovery.subject)
  const grant = fromRecovery ? known.recovery : known.entries[index]?.gives
  if (grant === undefined || !equalBytes(grant.subject, op.signer)) {
    throw new MembersError('MEMBERS_NOT_PERMITTED', 'acts under a grant that is not its own')
  }
  return grant
}

function judgeBody(candidate: Candidate, acts: Grant, known: Known): Grant | undefined {
  const { payload } = candidate
  switch (payload.type) {
    case 'grant':
      return judgeGrant({ ...candidate, payload }, acts, known)
    case 'successor':
      return judgeSuccessor({ ...candidate, payload }, acts, known)
    case 'recover':
      requireNewHolder(candidate, payload.body.subject, known)
      return grantOf(candidate, payload.body.subject, {
        role: 'owner',
        line: [0],
        successions: 0,
        under: acts,
      })
    case 'revoke':
      judgeRevoke({ ...candidate, payload }, acts, known)
      return undefined
    case 'rename':
      if (payload.body.subject !== undefined) grantsInPast(candidate, payload.body.subject, known)
      return undefined
    case 'checkpoint':
      for (const head of payload.body.heads) indexIn(candidate.past, head, known)
      return undefined
    case 'retire':
    case 'policy':
      return undefined
  }
}

function grantOf(
  { op, index }: Candidate,
  subject: Uint8Array,
  rest: Pick<Grant, 'role' | 'line' | 'successions' | 'under'>,
): Grant {
  return { index, id: op.id, subject, holder: toHex(subject), ...rest }
}

function judgeGrant(candidate: Candidate<PayloadOf<'grant'>>, acts: Grant, known: Known): Grant {
  const { subject, role, caps, expiresAtMs } = candidate.payload.body
  requireNewHolder(candidate, subject, known)
  if (role === 'owner' && (caps.length > 0 || expiresAtMs !== undefined)) {
    throw new MembersError('MEMBERS_BAD_OP', 'an owner has neither caps nor an end')
  }
  if (depthOf(acts) >= CAPS.maxDepth) throw new MembersError('MEMBERS_TOO_DEEP')
  const line = [...acts.line, candidate.index]
  return grantOf(candidate, subject, { role, line, successions: 0, under: acts })
}

function judgeSuccessor(
  candidate: Candidate<PayloadOf<'successor'>>,
  acts: Grant,
  known: Known,
): Grant {
  const { op, payload } = candidate
  const { subject, proof } = payload.body
  requireNewHolder(candidate, subject, known)
  if (acts.successions >= CAPS.maxSuccessors) throw new MembersError('MEMBERS_TOO_DEEP')
  const statement = successionStatement({
    home: payload.home,
    oldKey: op.signer,
    newKey: subject,
    auth: payload.auth,
  })
  if (!known.verifier.verify(subject, statement, proof)) {
    throw new MembersError('MEMBERS_BAD_OP', 'the new key did not sign')
  }
  const { role, line } = acts
  return grantOf(candidate, subject, { role, line, successions: acts.successions + 1, under: acts })
}

function judgeRevoke(candidate: Candidate<PayloadOf<'revoke'>>, acts: Grant, known: Known): void {
  const { op, payload } = candidate
  const { subject } = payload.body
  if (equalBytes(subject, op.signer)) throw new MembersError('MEMBERS_BAD_OP', 'retire instead')
  if (!grantsInPast(candidate, subject, known).some((grant) => mayRevoke(acts, grant))) {
    throw new MembersError('MEMBERS_NOT_PERMITTED', 'not below the signer')
  }
}

function grantsInPast({ past }: Candidate, subject: Uint8Array, known: Known): readonly Grant[] {
  const found = known.grantsTo(toHex(subject)).filter((grant) => covers(past, grant.index))
  if (found.length === 0) throw new MembersError('MEMBERS_UNKNOWN_DEVICE')
  return found
}

function requireNewHolder({ op }: Candidate, subject: Uint8Array, known: Known): void {
  requireKey(subject)
  if (equalBytes(subject, op.signer) || equalBytes(subject, known.recovery.subject)) {
    throw new MembersError('MEMBERS_BAD_OP', 'grant to its own signer or to the recovery key')
  }
}

function requireKey(key: Uint8Array): void {
  try {
    requireTrustableKey(key)
  } catch (cause) {
    if (!(cause instanceof IdentityError)) throw cause
    throw new MembersError('MEMBERS_BAD_OP', 'key', { cause })
  }
}
