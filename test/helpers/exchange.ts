/** Devices that exchange releases over a network in memory, each with a blob store on disk. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pino from 'pino'

import { systemClock, systemRandom } from '../../node/env.ts'
import {
  startExchange,
  type Exchange,
  type ExchangeDeps,
} from '../../node/services/update/exchange.ts'
import { openBlobs, type BlobStore } from '../../node/storage/blobs.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import {
  encodeIndex,
  Frame,
  UPDATE,
  type FrameOf,
  type OpenedIndex,
  type UpdateFrame,
} from '../../protocols/update/index.ts'
import type { Channel } from '../../protocols/wire/index.ts'
import { noiseOf, type TestBlob } from './blobs.ts'
import { MemoryNetwork, type MemoryMesh } from './memory-mesh.ts'
import { CONTEXT, deviceOf, HOME } from './telemetry.ts'

export interface TestRelease {
  readonly opened: OpenedIndex
  readonly blobs: readonly TestBlob[]
}

/** A release of chunks that nothing packs; `repeat` puts its first chunk at the end again. */
export function releaseOf(
  seed: string,
  chunks: number,
  { bytes = 2_000, repeat = false }: { readonly bytes?: number; readonly repeat?: boolean } = {},
): TestRelease {
  const blobs = Array.from({ length: chunks }, (_, i) => noiseOf(`${seed}/${i}`, bytes))
  const [first] = blobs
  if (repeat && first !== undefined) blobs.push(first)
  const rows = blobs.map(({ chunk, blob }) => ({
    ...chunk,
    stored: blob.bytes.length,
    codec: blob.codec,
  }))
  const opened = encodeIndex({
    v: 1,
    name: 'app',
    version: '1.0',
    build: 1,
    for: { hardware: [], arch: [], groups: [], requires: [] },
    installer: 'exec',
    args: {},
    form: 'file',
    rawBytes: rows.reduce((sum, { raw }) => sum + raw, 0),
    rawHash: noiseOf(seed).chunk.hash,
    chunks: rows,
  })
  return { opened, blobs }
}

export interface TestDevice {
  readonly signer: Signer
  readonly key: Uint8Array
  readonly blobs: BlobStore
  readonly exchange: Exchange
  readonly faults: string[]
}

/** A device that speaks for itself, badly. */
export interface Rogue {
  readonly key: Uint8Array
  readonly say: (frame: UpdateFrame) => Promise<void>
  /** On the other's stream. */
  readonly answer: (frame: UpdateFrame) => Promise<void>
  /** What came, on both streams. */
  readonly heard: UpdateFrame[]
  /** The next frame of a kind, one that came already too. */
  next(type: UpdateFrame['type']): Promise<UpdateFrame>
  /** Resolves when its stream was ended by the other side. */
  readonly ended: Promise<void>
}

export class ExchangeRoom implements AsyncDisposable {
  readonly network = new MemoryNetwork(systemClock)
  readonly #stop = new AbortController()
  readonly #closing: (() => Promise<void>)[] = []

  async device(
    name: string,
    changes: Partial<ExchangeDeps> & { folder?: string } = {},
  ): Promise<TestDevice> {
    const signer = deviceOf(name)
    const folder = changes.folder ?? (await this.folder())
    const blobs = await openBlobs({ folder, maxBytes: 1e9, clock: systemClock })
    const faults: string[] = []
    const exchange = await startExchange(
      {
        mesh: this.network.join(signer.key),
        blobs,
        clock: systemClock,
        random: systemRandom,
        log: pino({ level: 'silent' }),
        home: HOME,
        verifier: CONTEXT.verifier,
        allows: () => true,
        isMember: () => true,
        file: () => Promise.resolve(undefined),
        ...changes,
      },
      this.#stop.signal,
    )
    exchange.events.on('fault', ({ code }) => void faults.push(code))
    this.#closing.push(async () => {
      await exchange[Symbol.asyncDispose]()
      await blobs[Symbol.asyncDispose]()
    })
    return { signer, key: signer.key, blobs, exchange, faults }
  }

  async folder(): Promise<string> {
    const folder = await mkdtemp(path.join(tmpdir(), 'kith-exchange-'))
    this.#closing.unshift(() => rm(folder, { recursive: true, force: true }))
    return folder
  }

  /** Connected, and speaking as it is told to. */
  async rogue(name: string, to: { readonly key: Uint8Array }): Promise<Rogue> {
    const { key } = deviceOf(name)
    const mesh = this.network.join(key)
    const heard: UpdateFrame[] = []
    let wake = (): void => undefined
    const inbound = Promise.withResolvers<Channel>()
    const ended = Promise.withResolvers<void>()
    const listen = async (channel: Channel): Promise<void> => {
      for await (const frame of channel.messages(Frame)) {
        heard.push(frame)
        wake()
      }
    }
    await mesh.serve(UPDATE, async (channel) => {
      inbound.resolve(channel)
      await listen(channel)
    })
    this.network.connect(key, to.key)
    const stream = await mesh.open(to.key, UPDATE, this.#stop.signal)
    listen(stream.channel).then(ended.resolve, () => ended.resolve())
    const theirs = await inbound.promise
    return {
      key,
      heard,
      ended: ended.promise,
      say: (frame) => stream.channel.send(Frame, frame),
      answer: (frame) => theirs.send(Frame, frame),
      async next(type) {
        for (;;) {
          const at = heard.findIndex((frame) => frame.type === type)
          const [found] = at < 0 ? [] : heard.splice(at, 1)
          if (found !== undefined) return found
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
      },
    }
  }

  /** The first word to one that speaks to `to`. */
  async refusal(
    mesh: Pick<MemoryMesh, 'open'>,
    to: { readonly key: Uint8Array },
  ): Promise<FrameOf<'refused'>> {
    await using stream = await mesh.open(to.key, UPDATE, this.#stop.signal)
    const frame = await stream.channel.receive(Frame)
    if (frame.type !== 'refused') throw new Error(`${frame.type} came`)
    return frame
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the test is over'))
    for (const close of this.#closing.toReversed()) await close()
  }
}

/** Put all of a release, or the chunks of some numbers, into a store. */
export async function fill(
  { blobs }: Pick<TestDevice, 'blobs'>,
  release: TestRelease,
  numbers: Iterable<number> = release.blobs.keys(),
): Promise<void> {
  for (const n of numbers) {
    const one = release.blobs[n]
    if (one !== undefined) await blobs.put(one.chunk, one.blob)
  }
}

export function holds({ blobs }: Pick<TestDevice, 'blobs'>, { opened }: TestRelease): boolean {
  return opened.chunks.every(({ hash }) => blobs.has(hash))
}
