/** The candidate's side: it joins a home. SPEC.md "Messages" draws both sides. */
import { NO_HOME } from '../identity/index.ts'
import { type Channel, equalBytes, equalConstantTime, type Infer } from '../wire/index.ts'
import { ENTROPY_BYTES, startCpace } from './cpace.ts'
import { PAIRING_ERRORS, PairingError } from './errors.ts'
import { PAYLOAD } from './limits.ts'
import {
  Ack,
  Answer,
  Introduction,
  isDeviceName,
  Nonce,
  NONCE_BYTES,
  Opening,
  Payload,
  Proof,
  Share,
} from './messages.ts'
import { type JoinDeps, type Joined, orEnd, type PairingSecret } from './protocol.ts'
import { cpaceInput, refuseOwnShare, type RunKeys, runKeys, secretString } from './transcript.ts'

/**
 * Answer one member, or one guesser. Spends a try of the window before it says anything that depends
 * on the secret; the first member that proves the code ends the window for all others. Any number of
 * runs may be under way at once. The caller resets the stream where it throws, and tells the peer
 * nothing more.
 *
 * @throws PairingError PAIRING_CLOSED, PAIRING_CODE_MISMATCH (with `triesLeft`), PAIRING_BAD_SHARE,
 * PAIRING_BAD_MAC, PAIRING_TOO_LARGE, PAIRING_INTERRUPTED, PAIRING_REFUSED; WireError; whatever the
 * window's store throws; RangeError where `name` is not a device name
 */
export async function join(channel: Channel, deps: JoinDeps): Promise<Joined> {
  // Found out only at M6, it would use up the window.
  if (!isDeviceName(deps.name)) throw new RangeError('not a device name')
  const opening = await channel.receive(Opening)
  const keys = await agree(channel, deps, opening)
  await introduce(channel, deps, keys)
  const { ops, mac } = await orEnd('PAIRING_INTERRUPTED', () => receiveHome(channel, keys))
  await acceptAndAck(channel, deps, { opening, ops, mac, keys })
  const { home, intent, role } = opening
  return { home, intent, role, memberKey: deps.memberKey }
}

/** M2..M5: the keys, once the member has proved that it knows the secret. */
async function agree(
  channel: Channel,
  deps: JoinDeps,
  opening: Infer<typeof Opening>,
): Promise<RunKeys> {
  const { window, random } = deps
  window.requireOpen()
  if (equalBytes(opening.home, NO_HOME)) {
    throw new PairingError('PAIRING_REFUSED', { detail: 'no home' })
  }
  const nonce = random.bytes(NONCE_BYTES)
  await channel.send(Nonce, { nonce })
  const { share } = await channel.receive(Share)

  window.spend()
  const prs = secretString(secretOf(deps, opening.secret))
  const input = cpaceInput({ ...deps, opening, nonce }, prs)
  const side = startCpace(input, random.bytes(ENTROPY_BYTES))
  refuseOwnShare(side.share, share)
  const keys = runKeys(input, side.agree(share), { ya: share, yb: side.share })
  await channel.send(Answer, { share: side.share, tag: keys.candidateTag })

  // A member with another code sees it in our tag, and leaves.
  const { tag } = await orEnd('PAIRING_CODE_MISMATCH', () => channel.receive(Proof)).catch(
    (error: unknown) => {
      throw withTries(error, window.triesLeft)
    },
  )
  if (!equalConstantTime(tag, keys.memberTag)) {
    throw new PairingError('PAIRING_CODE_MISMATCH', { triesLeft: window.triesLeft })
  }
  return keys
}

/** M6. The member is proved, so it may know why where it came too late. */
async function introduce(channel: Channel, deps: JoinDeps, keys: RunKeys): Promise<void> {
  const { window, name } = deps
  const status = window.claim() ? 0 : PAIRING_ERRORS.PAIRING_CLOSED.status
  const mac = keys.introductionMac(status, name)
  await orEnd('PAIRING_INTERRUPTED', () => channel.send(Introduction, { status, name, mac }))
  if (status !== 0) throw new PairingError('PAIRING_CLOSED', { detail: window.state })
}

interface Home {
  readonly ops: readonly Uint8Array[]
  readonly mac: Uint8Array
}

/** M7, until the frame with the MAC. */
async function receiveHome(channel: Channel, keys: RunKeys): Promise<Home> {
  const ops: Uint8Array[] = []
  for (;;) {
    const frame = await channel.receive(Payload)
    ops.push(...frame.ops)
    if (ops.length > PAYLOAD.maxOps) throw new PairingError('PAIRING_TOO_LARGE')
    if (frame.mac === undefined) continue
    if (!equalConstantTime(frame.mac, keys.payloadMac(ops))) {
      throw new PairingError('PAIRING_BAD_MAC', { detail: 'payload' })
    }
    return { ops, mac: frame.mac }
  }
}

/** M8, after the home is on disk or refused. */
async function acceptAndAck(
  channel: Channel,
  deps: JoinDeps,
  run: Home & { readonly opening: Infer<typeof Opening>; readonly keys: RunKeys },
): Promise<void> {
  const { opening, keys, ops, mac } = run
  // Whether or not the member hears of it, the home is stored, or it is not.
  const acknowledge = (status: number): Promise<void> =>
    channel.send(Ack, { status, mac: keys.ackMac(status, mac) }).catch(() => undefined)
  try {
    await deps.accept(ops, opening.home, opening.role, deps.memberKey)
  } catch (cause) {
    const refusal = new PairingError('PAIRING_REFUSED', { cause })
    await acknowledge(refusal.status)
    throw refusal
  }
  await acknowledge(0)
}

function secretOf({ window, candidateKey }: JoinDeps, kind: 'code' | 'qr'): PairingSecret {
  const { code, qrSecret } = window
  if (kind === 'code') return { kind, code }
  const { discriminator } = code
  return { kind, ticket: { key: candidateKey, secret: qrSecret, discriminator, addresses: [] } }
}

function withTries(error: unknown, triesLeft: number): unknown {
  return error instanceof PairingError
    ? new PairingError(error.code, { cause: error.cause, triesLeft })
    : error
}
