/**
 * Leases over the mesh: one stream to each other gateway that is connected, one from each, and the
 * state machine of protocols/lease between them.
 */
import {
  BOUNDS,
  hearLeases,
  LEASE,
  Leases,
  speakLeases,
  type Done,
} from '../../protocols/lease/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { Clock } from '../env.ts'
import { createEmitter, type Emitter } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'

export interface LeaseEvents extends Record<string, unknown> {
  /** Who holds what may be another. */
  change: undefined
  /** What the holder of a lease is through with. */
  done: Done
}

export interface LeasesDeps {
  readonly mesh: Pick<Mesh, 'key' | 'events' | 'serve' | 'open' | 'peers'>
  /** The other gateways of the home; of none where this device is no gateway itself. */
  readonly others: () => readonly Uint8Array[]
  /** Of a lease that is held here. */
  readonly done: (name: string) => Done['rows']
  readonly clock: Clock
  readonly log: Logger
}

export interface LeaseService extends AsyncDisposable {
  readonly events: Emitter<LeaseEvents>
  want(names: readonly string[]): void
  holds(name: string): boolean
  /** Key of the gateway that sends, this one too. */
  holder(name: string): Uint8Array | undefined
  /** The other gateways may be others. */
  refresh(): void
}

const LAST_WORD_MS = 500
const AGAIN_MS = 500

export async function startLeases(deps: LeasesDeps, signal: AbortSignal): Promise<LeaseService> {
  const service = new MeshLeases(deps, signal)
  await service.start()
  return service
}

class MeshLeases implements LeaseService {
  readonly events: Emitter<LeaseEvents>
  readonly #deps: LeasesDeps
  readonly #leases: Leases
  /** Speaking ends first, then the streams. */
  readonly #quiet = new AbortController()
  readonly #stop = new AbortController()
  readonly #until: AbortSignal
  readonly #speaking = new Map<string, { over: AbortController; run: Promise<void> }>()
  #cancelTick: () => void = () => undefined

  constructor(deps: LeasesDeps, signal: AbortSignal) {
    const { clock, log, mesh } = deps
    this.#deps = deps
    this.#leases = new Leases({ key: mesh.key, nowMs: clock.monotonic() })
    this.#until = AbortSignal.any([signal, this.#stop.signal])
    this.events = createEmitter((err) => log.error({ err }, 'listener failed'))
  }

  async start(): Promise<void> {
    const { mesh } = this.#deps
    await mesh.serve(LEASE, (channel, peer) =>
      hearLeases(channel, {
        mayHear: () => !this.#until.aborted && this.#isOther(peer),
        onStands: (stands) => this.#tell(this.#leases.hear(peer, stands, this.#nowMs())),
        onDone: (done) => this.#onDone(peer, done),
      }),
    )
    mesh.events.on('connect', ({ key }) => this.#speakTo(key), this.#until)
    mesh.events.on('disconnect', ({ key }) => this.#silence(key), this.#until)
    this.refresh()
    this.#tick()
  }

  want(names: readonly string[]): void {
    this.#tell(this.#leases.want(names, this.#nowMs()))
  }

  holds(name: string): boolean {
    return this.#leases.holds(name, this.#nowMs())
  }

  holder(name: string): Uint8Array | undefined {
    return this.#leases.holder(name)
  }

  refresh(): void {
    const { mesh, others } = this.#deps
    this.#tell(this.#leases.setOthers(others(), this.#nowMs()))
    for (const { key } of mesh.peers()) {
      if (this.#isOther(key)) this.#speakTo(key)
      else this.#silence(key)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelTick()
    this.#leases.want([], this.#nowMs())
    this.#quiet.abort(new Error('stopping'))
    const all = Promise.all([...this.#speaking.values()].map(({ run }) => run))
    const late = Promise.withResolvers<void>()
    const cancel = this.#deps.clock.timer(LAST_WORD_MS, late.resolve)
    await Promise.race([all, late.promise])
    cancel()
    this.#stop.abort(new Error('stopping'))
    await all
  }

  #nowMs(): number {
    return this.#deps.clock.monotonic()
  }

  #isOther(peer: Uint8Array): boolean {
    return this.#deps.others().some((key) => equalBytes(key, peer))
  }

  #tick(): void {
    if (this.#until.aborted) return
    this.#tell(this.#leases.tick(this.#nowMs()))
    this.#cancelTick = this.#deps.clock.timer(BOUNDS.beatMs, () => this.#tick())
  }

  #tell(isChanged: boolean): void {
    if (isChanged) this.events.emit('change', undefined)
  }

  #onDone(peer: Uint8Array, done: Done): void {
    const holder = this.#leases.holder(done.name)
    if (holder !== undefined && equalBytes(holder, peer)) this.events.emit('done', done)
  }

  #speakTo(peer: Uint8Array): void {
    const key = toHex(peer)
    if (this.#speaking.has(key) || this.#until.aborted || !this.#isOther(peer)) return
    const over = new AbortController()
    const run = this.#speak(peer, AbortSignal.any([this.#until, over.signal])).finally(() => {
      if (this.#speaking.get(key)?.over === over) this.#speaking.delete(key)
    })
    this.#speaking.set(key, { over, run })
  }

  #silence(peer: Uint8Array): void {
    this.#speaking.get(toHex(peer))?.over.abort(new Error('disconnected'))
    this.#speaking.delete(toHex(peer))
  }

  /** Again and again, for as long as it is connected. */
  async #speak(peer: Uint8Array, until: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps
    const pause = AbortSignal.any([until, this.#quiet.signal])
    while (!pause.aborted) {
      try {
        await this.#speakOnce(peer, until)
      } catch (err) {
        if (pause.aborted) return
        log.debug({ err, peer: toHex(peer) }, 'it does not hear of leases')
      }
      await sleepUnless(clock, pause)
    }
  }

  async #speakOnce(peer: Uint8Array, until: AbortSignal): Promise<void> {
    const { clock, done, mesh } = this.#deps
    await using stream = await mesh.open(peer, LEASE, until)
    const end = AbortSignal.any([until, this.#quiet.signal, stream.signal])
    await speakLeases(
      stream.channel,
      {
        clock,
        stands: () => {
          // Whatever is said is of this moment, also after a pause.
          this.#tell(this.#leases.tick(this.#nowMs()))
          return this.#leases.stands()
        },
        done,
        onChange: (listener) => this.events.on('change', listener),
      },
      end,
    )
  }
}

async function sleepUnless(clock: Clock, over: AbortSignal): Promise<void> {
  try {
    await clock.sleep(AGAIN_MS, over)
  } catch {
    // It is over.
  }
}
