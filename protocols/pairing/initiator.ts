/** The member's side: it lets a candidate into the home. SPEC.md "Messages" draws both sides. */
import {
  type Channel,
  equalBytes,
  equalConstantTime,
  type Infer,
  WireError,
} from '../wire/index.ts'
import { ENTROPY_BYTES, startCpace } from './cpace.ts'
import { errorOfStatus, PairingError } from './errors.ts'
import { PAYLOAD } from './limits.ts'
import {
  Ack,
  Answer,
  Introduction,
  Nonce,
  NONCE_BYTES,
  Opening,
  Payload,
  Proof,
  Share,
} from './messages.ts'
import {
  type AdmitDeps,
  type Admitted,
  type Candidate,
  orEnd,
  type PairingSecret,
} from './protocol.ts'
import { cpaceInput, refuseOwnShare, type RunKeys, runKeys, secretString } from './transcript.ts'

/**
 * The one of `seen` that `secret` means. A code is tried against one device only: trying it on all
 * would give each of them a guess.
 *
 * @throws PairingError PAIRING_NOT_FOUND, PAIRING_AMBIGUOUS
 */
export function chooseCandidate(seen: readonly Candidate[], secret: PairingSecret): Candidate {
  const fitting =
    secret.kind === 'code' ? seen : seen.filter(({ key }) => equalBytes(key, secret.ticket.key))
  const [chosen, second] = fitting
  if (chosen === undefined) throw new PairingError('PAIRING_NOT_FOUND')
  if (second !== undefined) throw new PairingError('PAIRING_AMBIGUOUS')
  return chosen
}

/**
 * Prove the code to the candidate and have it prove the code to us, then send the home with a grant.
 * When this resolves the candidate has stored both. The caller resets the stream where it throws.
 *
 * @throws PairingError PAIRING_WRONG_PEER, PAIRING_CLOSED, PAIRING_CODE_MISMATCH, PAIRING_BAD_SHARE,
 * PAIRING_BAD_MAC, PAIRING_INTERRUPTED, PAIRING_TOO_LARGE, PAIRING_REFUSED, PAIRING_NO_ACK;
 * WireError; whatever `makeGrant` throws
 */
export async function admit(channel: Channel, deps: AdmitDeps): Promise<Admitted> {
  const { secret, candidateKey } = deps
  if (secret.kind === 'qr' && !equalBytes(secret.ticket.key, candidateKey)) {
    throw new PairingError('PAIRING_WRONG_PEER')
  }
  const keys = await orEnd('PAIRING_CLOSED', () => agree(channel, deps))
  const name = await orEnd('PAIRING_INTERRUPTED', async () => {
    await channel.send(Proof, { tag: keys.memberTag })
    return receiveName(channel, keys)
  })
  const ops = await deps.makeGrant(candidateKey, name)
  requireBounded(ops)
  await sendHome(channel, ops, keys)
  return { candidateKey, name }
}

/** M1..M4: the keys, once the candidate has proved that it knows the secret. */
async function agree(channel: Channel, deps: AdmitDeps): Promise<RunKeys> {
  const { home, intent, role, secret, random } = deps
  const opening: Infer<typeof Opening> = {
    nonce: random.bytes(NONCE_BYTES),
    home,
    intent,
    role,
    secret: secret.kind,
  }
  await channel.send(Opening, opening)
  const { nonce } = await channel.receive(Nonce)

  const input = cpaceInput({ ...deps, opening, nonce }, secretString(secret))
  const side = startCpace(input, random.bytes(ENTROPY_BYTES))
  await channel.send(Share, { share: side.share })
  const answer = await channel.receive(Answer)

  refuseOwnShare(side.share, answer.share)
  const keys = runKeys(input, side.agree(answer.share), { ya: side.share, yb: answer.share })
  if (!equalConstantTime(answer.tag, keys.candidateTag)) {
    throw new PairingError('PAIRING_CODE_MISMATCH')
  }
  return keys
}

/** M6. The candidate has accepted our proof, or tells us why it goes no further. */
async function receiveName(channel: Channel, keys: RunKeys): Promise<string> {
  const { status, name, mac } = await channel.receive(Introduction)
  if (!equalConstantTime(mac, keys.introductionMac(status, name))) {
    throw new PairingError('PAIRING_BAD_MAC', { detail: 'introduction' })
  }
  if (status !== 0) throw errorOfStatus(status)
  return name
}

/** M7 and M8. From the first frame on, only the candidate knows whether it joined. */
async function sendHome(
  channel: Channel,
  ops: readonly Uint8Array[],
  keys: RunKeys,
): Promise<void> {
  const payloadMac = keys.payloadMac(ops)
  const ack = await orUnconfirmed(async () => {
    const frames = inFrames(ops)
    for (const frame of frames.slice(0, -1)) await channel.send(Payload, { ops: frame })
    await channel.send(Payload, { ops: frames.at(-1) ?? [], mac: payloadMac })
    return channel.receive(Ack)
  })
  if (!equalConstantTime(ack.mac, keys.ackMac(ack.status, payloadMac))) {
    throw new PairingError('PAIRING_BAD_MAC', { detail: 'acknowledgement' })
  }
  if (ack.status !== 0) throw errorOfStatus(ack.status)
}

/** A silent candidate is as unknown as a lost one. */
function orUnconfirmed<T>(act: () => Promise<T>): Promise<T> {
  return orEnd('PAIRING_NO_ACK', async () => {
    try {
      return await act()
    } catch (cause) {
      if (cause instanceof WireError && cause.code === 'WIRE_TOO_SLOW') {
        throw new PairingError('PAIRING_NO_ACK', { cause })
      }
      throw cause
    }
  })
}

function requireBounded(ops: readonly Uint8Array[]): void {
  const fits = ops.length <= PAYLOAD.maxOps && ops.every((op) => op.length <= PAYLOAD.maxOpBytes)
  if (!fits) throw new PairingError('PAIRING_TOO_LARGE')
}

/** Ops in order, each frame as full as `PAYLOAD` allows. */
function inFrames(ops: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const frames: Uint8Array[][] = []
  let filled = 0
  for (const op of ops) {
    const last = frames.at(-1)
    filled += op.length
    if (last === undefined || last.length >= PAYLOAD.maxOpsPerFrame || filled > PAYLOAD.fillBytes) {
      frames.push([op])
      filled = op.length
    } else {
      last.push(op)
    }
  }
  return frames
}
