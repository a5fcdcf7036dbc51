/**
 * One exchange of membership ops between two members: both say what they have, both send what the
 * other lacks. Afterwards each side knows the union. Both sides are the same; there is no first.
 */
import type { Clock } from '../env.ts'
import { equalBytes, WireError, type Channel } from '../wire/index.ts'
import { Batch, Have } from './messages.ts'
import type { OpSet } from './op-set.ts'
import type { Op } from './op.ts'
import { CAPS, MEMBERS, MembersError, type MembersErrorCode } from './protocol.ts'

/** What sync needs of the set. */
export type SyncSet = Pick<OpSet, 'home' | 'add' | 'have' | 'missingFor'>

export interface SyncDeps {
  readonly ops: SyncSet
  /** Put new ops, parents first, on disk. Resolves once they would survive a power cut. */
  readonly store: (ops: readonly Op[]) => void | Promise<void>
  /** The peer sent an op that no honest device passes on; not called for want of room. */
  readonly onWrong?: (code: MembersErrorCode) => void
  readonly clock: Clock
}

export interface SyncResult {
  /** Ops that were new to us, and are stored. */
  readonly received: number
  /** Ops that we sent; the peer may have had some. */
  readonly sent: number
  /** Ops of the peer that we did not take. */
  readonly refused: number
}

/** Frames carry a little besides the ops. */
const BATCH_BYTES = MEMBERS.maxFrameBytes - 64
/** CBOR in front of an op of at most 4,096 bytes. */
const OP_OVERHEAD_BYTES = 3

/**
 * Run the exchange. The caller opened the channel, and resets the stream where this throws; ops
 * stored by then stay.
 *
 * @throws MembersError MEMBERS_WRONG_HOME, MEMBERS_PEER_FAULT, MEMBERS_TOO_SLOW; WireError; what
 * `store` throws
 */
export async function syncMembers(channel: Channel, deps: SyncDeps): Promise<SyncResult> {
  return withDeadline(deps.clock, async () => {
    const [, theirs] = await Promise.all([
      channel.send(Have, { home: deps.ops.home, ids: deps.ops.have() }),
      channel.receive(Have),
    ])
    if (!equalBytes(theirs.home, deps.ops.home)) throw new MembersError('MEMBERS_WRONG_HOME')
    const missing = deps.ops.missingFor(theirs.ids)
    const [, taken] = await Promise.all([sendOps(channel, missing), receiveOps(channel, deps)])
    return { ...taken, sent: missing.length }
  })
}

async function sendOps(channel: Channel, ops: readonly Op[]): Promise<void> {
  const batches = batchesOf(ops)
  for (const [i, batch] of batches.entries()) {
    const last = i === batches.length - 1
    await channel.send(Batch, { ops: batch.map(({ bytes }) => bytes), last })
  }
}

/** At least one batch, each small enough for a frame. */
function batchesOf(ops: readonly Op[]): readonly (readonly Op[])[] {
  const batches: Op[][] = [[]]
  let size = 0
  for (const op of ops) {
    size += op.bytes.length + OP_OVERHEAD_BYTES
    if (size > BATCH_BYTES) {
      batches.push([])
      size = op.bytes.length + OP_OVERHEAD_BYTES
    }
    batches.at(-1)?.push(op)
  }
  return batches
}

async function receiveOps(
  channel: Channel,
  deps: SyncDeps,
): Promise<Pick<SyncResult, 'received' | 'refused'>> {
  let received = 0
  let refused = 0
  let wrong = 0
  let seen = 0
  for (let last = false; !last;) {
    const batch = await channel.receive(Batch)
    seen += batch.ops.length
    if (seen > CAPS.maxOps + CAPS.maxRecoveryOps || (batch.ops.length === 0 && !batch.last)) {
      throw new MembersError('MEMBERS_PEER_FAULT', 'no end of ops')
    }
    const added: Op[] = []
    try {
      for (const bytes of batch.ops) {
        const outcome = take(bytes, deps, added)
        if (outcome !== 'taken') refused++
        if (outcome === 'wrong' && ++wrong > CAPS.maxRefused) {
          throw new MembersError('MEMBERS_PEER_FAULT', `${wrong} wrong ops`)
        }
      }
    } finally {
      // What is in memory must be on disk, whatever came after it.
      if (added.length > 0) await deps.store(added)
    }
    received += added.length
    ;({ last } = batch)
  }
  return { received, refused }
}

/** An op that is refused does not spoil those after it; one that finds no room is nobody's fault. */
function take(
  bytes: Uint8Array,
  { onWrong, ops }: SyncDeps,
  added: Op[],
): 'taken' | 'full' | 'wrong' {
  try {
    const result = ops.add(bytes)
    if (result.status === 'added') added.push(...result.ops)
    return result.status === 'waiting' ? 'wrong' : 'taken'
  } catch (error) {
    if (!(error instanceof MembersError)) throw error
    if (error.code === 'MEMBERS_FULL') return 'full'
    onWrong?.(error.code)
    return 'wrong'
  }
}

/** A bound on the whole exchange, which a peer that is just never late enough does not escape. */
async function withDeadline<T>(clock: Clock, run: () => Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const cancel = clock.timer(CAPS.maxSessionMs, () =>
    late.reject(new MembersError('MEMBERS_TOO_SLOW')),
  )
  try {
    return await Promise.race([run(), late.promise])
  } catch (error) {
    if (error instanceof WireError && error.code === 'WIRE_TOO_SLOW') {
      throw new MembersError('MEMBERS_TOO_SLOW', undefined, { cause: error })
    }
    throw error
  } finally {
    cancel()
  }
}
