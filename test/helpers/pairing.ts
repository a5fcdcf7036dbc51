import { sha256 } from '../../protocols/identity/index.ts'
import {
  admit,
  type AdmitDeps,
  type Admitted,
  join,
  type JoinDeps,
  type Joined,
  openWindow,
  PAIRING,
  type PairingWindow,
  type WindowRecord,
  type WindowStore,
} from '../../protocols/pairing/index.ts'
import { type Channel, type Message, utf8 } from '../../protocols/wire/index.ts'
import type { Random } from '../../protocols/env.ts'
import * as messages from '../../protocols/pairing/messages.ts'
import { systemClock } from '../../node/env.ts'
import { channelPair, type ChannelEnd } from './channels.ts'
import { seededRandom } from './random.ts'
import { virtualClock } from './clock.ts'

export const MEMBER_KEY = sha256(utf8('member'))
export const CANDIDATE_KEY = sha256(utf8('candidate'))
export const OTHER_KEY = sha256(utf8('somebody else'))
export const HOME = sha256(utf8('home'))
export const OPS: readonly Uint8Array[] = [utf8('genesis'), utf8('grant of the new device')]

/** A store in memory; `saved` counts the writes. */
export interface MemoryStore extends WindowStore {
  records: readonly WindowRecord[]
  saved: number
  uptime: number
}

export function memoryStore(): MemoryStore {
  const store: MemoryStore = {
    records: [],
    saved: 0,
    uptime: 1_000_000,
    load: () => store.records,
    save(records) {
      store.records = records
      store.saved += 1
    },
    uptimeMs: () => store.uptime,
  }
  return store
}

/** A window that stands still in time, with everything about it repeatable. */
export function testWindow(store: WindowStore = memoryStore()): PairingWindow {
  return openWindow({ clock: virtualClock(), random: seededRandom('window'), store })
}

/** The member's side with the right code of `window`, and what was granted. */
export function memberOf(
  window: PairingWindow,
  changes: Partial<AdmitDeps> = {},
): AdmitDeps & { readonly granted: string[] } {
  const granted: string[] = []
  return {
    granted,
    memberKey: MEMBER_KEY,
    candidateKey: CANDIDATE_KEY,
    home: HOME,
    intent: 'join',
    role: 'sensor',
    secret: { kind: 'code', code: window.code },
    random: seededRandom('member'),
    async makeGrant(_key, name) {
      granted.push(name)
      return OPS
    },
    ...changes,
  }
}

/** The candidate's side of `window`, and what was accepted. */
export function candidateOf(
  window: PairingWindow,
  changes: Partial<JoinDeps> = {},
): JoinDeps & { readonly accepted: Parameters<JoinDeps['accept']>[] } {
  const accepted: Parameters<JoinDeps['accept']>[] = []
  return {
    accepted,
    memberKey: MEMBER_KEY,
    candidateKey: CANDIDATE_KEY,
    name: 'Balcony',
    window,
    random: seededRandom('candidate'),
    async accept(...all) {
      accepted.push(all)
    },
    ...changes,
  }
}

/** A code that differs from the right one in its secret. */
export function wrongSecret(window: PairingWindow, by = 1): AdmitDeps['secret'] {
  const { discriminator, digits } = window.code
  const wrong = String((Number(digits) + by) % 10 ** 8).padStart(8, '0')
  return { kind: 'code', code: { discriminator, digits: wrong } }
}

/** Run one side as a host does: whatever it throws resets the stream. */
export async function onEnd<T>(end: ChannelEnd, act: (channel: Channel) => Promise<T>): Promise<T> {
  try {
    return await act(end.channel)
  } catch (error) {
    end.stream.abort(error as Error)
    throw error
  }
}

export interface Outcome {
  readonly admitted: PromiseSettledResult<Admitted>
  readonly joined: PromiseSettledResult<Joined>
}

/** One whole run over one stream. */
export async function meet(member: AdmitDeps, candidate: JoinDeps): Promise<Outcome> {
  const [a, b] = await channelPair(PAIRING, systemClock)
  const [admitted, joined] = await Promise.allSettled([
    onEnd(a, (channel) => admit(channel, member)),
    onEnd(b, (channel) => join(channel, candidate)),
  ])
  return { admitted, joined }
}

/** The messages of a run in their order; the member sends the first of each pair. */
export const STEPS = [
  'Opening',
  'Nonce',
  'Share',
  'Answer',
  'Proof',
  'Introduction',
  'Payload',
  'Ack',
] as const
export type Step = (typeof STEPS)[number]

/** Every message by its name in the code. */
export const MESSAGES = messages as unknown as Readonly<Record<Step, Message<unknown>>>

/** A frame as it is, for who only passes it on. */
const RAW: Message<Uint8Array> = {
  name: 'raw',
  maxBytes: PAIRING.maxFrameBytes,
  encode: (frame) => frame,
  encodePieces: (frame) => [frame],
  decode: (frame) => frame,
}

/** Changes a frame through the message in it. */
export function changing<T>(
  message: Message<T>,
  change: (value: T) => T,
): (frame: Uint8Array) => Uint8Array {
  return (frame) => message.encode(change(message.decode(frame)))
}

/** One run through somebody in the middle, who changes some frames and writes all down. */
export async function meetThrough(
  member: AdmitDeps,
  candidate: JoinDeps,
  changes: Partial<Record<Step, (frame: Uint8Array) => Uint8Array>> = {},
): Promise<Outcome & { readonly frames: readonly Uint8Array[] }> {
  const [a, m] = await channelPair(PAIRING)
  const [n, b] = await channelPair(PAIRING)
  const ends = Promise.allSettled([
    onEnd(a, (channel) => admit(channel, member)),
    onEnd(b, (channel) => join(channel, candidate)),
  ])
  const frames: Uint8Array[] = []
  try {
    for (const [i, step] of STEPS.entries()) {
      const [from, to] = i % 2 === 0 ? [m, n] : [n, m]
      const frame = await from.channel.receive(RAW)
      frames.push(frame)
      await to.channel.send(RAW, changes[step]?.(frame) ?? frame)
    }
  } catch (error) {
    m.stream.abort(error as Error)
    n.stream.abort(error as Error)
  }
  const [admitted, joined] = await ends
  return { admitted, joined, frames }
}

/** Send recorded frames to a candidate, waiting for its answer to each while it answers. */
export async function replay(
  frames: readonly Uint8Array[],
  candidate: JoinDeps,
): Promise<PromiseSettledResult<Joined>> {
  const [a, b] = await channelPair(PAIRING)
  const ends = Promise.allSettled([onEnd(b, (channel) => join(channel, candidate))])
  for (const frame of frames) {
    await a.channel.send(RAW, frame)
    await a.channel.receive(RAW).catch(() => undefined)
  }
  const [joined] = await ends
  return joined
}

/** What an Error's code is, for a promise's `catch`. */
export function codeOfError(reason: unknown): string {
  return codeOf({ status: 'rejected', reason })
}

/** The code of what a side threw, or 'done'. */
export function codeOf(result: PromiseSettledResult<unknown>): string {
  if (result.status === 'fulfilled') return 'done'
  const { code, message } = result.reason as { code?: string; message: string }
  return code ?? message
}

export function codesOf({ admitted, joined }: Outcome): [string, string] {
  return [codeOf(admitted), codeOf(joined)]
}

/** Random bytes that were written down; throws where another length is asked for. */
export function scriptedRandom(chunks: readonly Uint8Array[]): Random {
  const left = [...chunks]
  return {
    bytes(length) {
      const next = left.shift()
      if (next?.length !== length) throw new RangeError(`no ${length} bytes in the script`)
      return next
    },
  }
}
