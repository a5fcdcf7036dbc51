/**
 * A network for swarms, in one process and without time of its own: every device has one link with a
 * rate up and a rate down, chunks queue at both ends, and every frame takes a moment. Events are in
 * the order of their time.
 */
import {
  countBits,
  createSwarm,
  isBusy,
  setBit,
  step,
  type SwarmAction,
  type SwarmEvent,
  type SwarmState,
  type Tuning,
} from '../../protocols/update/index.ts'
import { seededRandom } from './random.ts'

export interface SimOptions {
  readonly seed: string
  readonly chunks: number
  readonly chunkBytes: number
  readonly tuning?: Partial<Tuning>
}

export interface SimDevice {
  readonly name: string
  readonly swarm: SwarmState
  /** Whom it is connected to, and which connection that is. */
  readonly links: Map<SimDevice, number>
  /** Bytes in a millisecond. */
  readonly up: number
  readonly down: number
  upFreeMs: number
  downFreeMs: number
  uploaded: number
  wasted: number
  online: boolean
  doneMs: number | undefined
  /** What it does instead of what it was told to. */
  mischief?: Mischief
  readonly cut: string[]
}

/** Gives back what is done in place of an action; undefined for the action itself. */
export type Mischief = (action: SwarmAction) => readonly SwarmAction[] | 'garbage' | undefined

interface Due {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

const FRAME_MS = 0.5
const TICK_MS = 50

export class SwarmSim {
  readonly devices: SimDevice[] = []
  readonly #options: SimOptions
  readonly #queue: Due[] = []
  #order = 0
  #connections = 0
  nowMs = 0

  constructor(options: SimOptions) {
    this.#options = options
  }

  add(name: string, has: 'all' | 'nothing', rate = 6_250): SimDevice {
    const { chunks: count, chunkBytes, seed, tuning = {} } = this.#options
    const all = new Uint8Array(Math.ceil(count / 8))
    for (let n = 0; n < count; n++) setBit(all, n)
    const none = new Uint8Array(all.length)
    const swarm = createSwarm({
      count,
      sizeOf: () => chunkBytes,
      have: has === 'all' ? all : none,
      need: all,
      random: seededRandom(`${seed}/${name}`),
      tuning,
    })
    const device: SimDevice = {
      name,
      swarm,
      links: new Map(),
      up: rate,
      down: rate,
      upFreeMs: 0,
      downFreeMs: 0,
      uploaded: 0,
      wasted: 0,
      online: true,
      doneMs: has === 'all' ? 0 : undefined,
      cut: [],
    }
    this.devices.push(device)
    this.#tick(device)
    return device
  }

  connect(a: SimDevice, b: SimDevice): void {
    if (a === b || a.links.has(b)) return
    const connection = ++this.#connections
    a.links.set(b, connection)
    b.links.set(a, connection)
    this.tell(a, { type: 'join', peer: b.name })
    this.tell(b, { type: 'join', peer: a.name })
  }

  disconnect(a: SimDevice, b: SimDevice): void {
    if (!a.links.delete(b)) return
    b.links.delete(a)
    this.tell(a, { type: 'leave', peer: b.name })
    this.tell(b, { type: 'leave', peer: a.name })
  }

  leave(device: SimDevice): void {
    for (const other of device.links.keys()) this.disconnect(device, other)
    device.online = false
  }

  mesh(): void {
    for (const a of this.devices) for (const b of this.devices) this.connect(a, b)
  }

  at(ms: number, run: () => void): void {
    this.#push({ atMs: this.nowMs + ms, order: this.#order++, run })
  }

  /** Until all of `devices` have all, or nothing has come to anyone for `stallMs`. */
  run(devices = this.devices, stallMs = 60_000): 'done' | 'stalled' {
    let open = devices.filter(({ doneMs }) => doneMs === undefined)
    let had = -1
    let sinceMs = this.nowMs
    for (let i = 0; open.length > 0; i++) {
      const due = this.#pop()
      if (due === undefined) return 'stalled'
      this.nowMs = due.atMs
      due.run()
      if (i % 256 !== 0) continue
      open = open.filter(({ doneMs }) => doneMs === undefined)
      const has = this.devices.reduce((sum, { swarm }) => sum + swarm.count - swarm.missing, 0)
      if (has !== had) sinceMs = this.nowMs
      else if (this.nowMs - sinceMs > stallMs) return 'stalled'
      had = has
    }
    return 'done'
  }

  tell(device: SimDevice, event: SwarmEvent): void {
    for (const action of step(device.swarm, event, this.nowMs)) this.#act(device, action)
  }

  #act(device: SimDevice, action: SwarmAction): void {
    const instead = device.mischief?.(action)
    if (instead === 'garbage') return this.#upload(device, action, true)
    if (instead !== undefined) {
      for (const other of instead) this.#perform(device, other)
      return undefined
    }
    return this.#perform(device, action)
  }

  #perform(device: SimDevice, action: SwarmAction): void {
    if (action.type === 'done') device.doneMs ??= this.nowMs
    else if (action.type === 'upload') this.#upload(device, action, false)
    else if (action.type === 'cut') {
      device.cut.push(`${action.peer} ${action.code}`)
    } else if (action.type === 'check') {
      this.at(FRAME_MS, () => this.tell(device, { ...action, type: 'verified' }))
    } else this.#frame(device, action)
  }

  #frame(
    from: SimDevice,
    action: Exclude<SwarmAction, { n: number } | { type: 'done' | 'cut' }>,
  ): void {
    const to = this.#linked(from, action.peer)
    if (to === undefined) return
    const event: SwarmEvent =
      action.type === 'have'
        ? { type: 'have', peer: from.name, bits: from.swarm.have.slice() }
        : { ...action, peer: from.name }
    this.#over(from, to, FRAME_MS, () => this.tell(to, event))
  }

  #upload(from: SimDevice, action: SwarmAction, garbage: boolean): void {
    if (action.type !== 'upload') return
    const to = this.#linked(from, action.peer)
    if (to === undefined) return
    const { chunkBytes } = this.#options
    from.upFreeMs = Math.max(from.upFreeMs, this.nowMs) + chunkBytes / from.up
    from.uploaded += chunkBytes
    this.#over(from, to, from.upFreeMs - this.nowMs, () => {
      this.tell(from, { ...action, type: 'sent' })
      to.downFreeMs = Math.max(to.downFreeMs, this.nowMs) + chunkBytes / to.down
      this.#over(from, to, to.downFreeMs - this.nowMs + FRAME_MS, () => {
        this.#arrive(from, to, { n: action.n, garbage })
      })
    })
  }

  /** What is under way on a connection ends with it. */
  #over(from: SimDevice, to: SimDevice, ms: number, run: () => void): void {
    const connection = from.links.get(to)
    this.at(ms, () => {
      if (connection !== undefined && from.links.get(to) === connection) run()
    })
  }

  #arrive(
    from: SimDevice,
    to: SimDevice,
    { n, garbage }: { readonly n: number; readonly garbage: boolean },
  ): void {
    const actions = step(to.swarm, { type: 'arrived', peer: from.name, n }, this.nowMs)
    const checks = actions.some(({ type }) => type === 'check')
    if (!checks) to.wasted += this.#options.chunkBytes
    for (const action of actions) {
      if (action.type === 'check' && garbage) {
        this.at(FRAME_MS, () => this.tell(to, { ...action, type: 'wrong' }))
      } else this.#act(to, action)
    }
  }

  #linked(from: SimDevice, name: string): SimDevice | undefined {
    for (const other of from.links.keys()) if (other.name === name) return other
    return undefined
  }

  #tick(device: SimDevice): void {
    this.at(TICK_MS, () => {
      if (device.online && isBusy(device.swarm)) this.tell(device, { type: 'tick' })
      this.#tick(device)
    })
  }

  /** A binary heap by time. */
  #push(due: Due): void {
    const queue = this.#queue
    let at = queue.push(due) - 1
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = queue[up]
      if (parent === undefined || isBefore(parent, due)) break
      queue[at] = parent
      at = up
    }
    queue[at] = due
  }

  #pop(): Due | undefined {
    const queue = this.#queue
    const [first] = queue
    const last = queue.pop()
    if (first === undefined || last === undefined || queue.length === 0) return first
    let at = 0
    for (;;) {
      let down = 2 * at + 1
      let child = queue[down]
      const right = queue[down + 1]
      if (right !== undefined && child !== undefined && isBefore(right, child)) {
        child = right
        down++
      }
      if (child === undefined || isBefore(last, child)) break
      queue[at] = child
      at = down
    }
    queue[at] = last
    return first
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

export function hasAll({ swarm }: SimDevice): boolean {
  return countBits(swarm.have, swarm.count) === swarm.count
}
