/** One stream for calls to each device, opened when it is first needed and kept while it lives. */
import { BOUNDS, CALLS, openCaller, type Caller } from '../../../protocols/calls/index.ts'
import type { CallsDeps } from './calls.ts'
import { keyed } from './keyed.ts'

export interface Links {
  /** @throws NodeError NODE_TIMEOUT, NODE_DENIED; `until`'s reason */
  get(device: Uint8Array): Promise<Caller>
}

/** Open calls on one stream; the rest of its places is for other questions. */
const MAX_CALLS = BOUNDS.maxOpen - 8

export function createLinks(mesh: CallsDeps['mesh'], until: AbortSignal): Links {
  const links = new Map<string, Promise<Caller>>()

  async function open(device: Uint8Array, gone: () => void): Promise<Caller> {
    try {
      const stream = await mesh.open(device, CALLS, until)
      const caller = openCaller(stream.channel, { abort: (error) => stream.abort(error) })
      void caller.closed.then(gone)
      const inTurn = atMost(MAX_CALLS)
      return { ...caller, call: (...asked) => inTurn(() => caller.call(...asked)) }
    } catch (error) {
      gone()
      throw error
    }
  }

  return {
    get(device) {
      const key = keyed(device)
      const known = links.get(key)
      if (known !== undefined) return known
      const link: Promise<Caller> = open(device, () => {
        if (links.get(key) === link) links.delete(key)
      })
      links.set(key, link)
      return link
    },
  }
}

/** Runs at most `limit` at a time, each in its turn; at once where there is room. */
function atMost(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0

  async function run<T>(work: () => Promise<T>): Promise<T> {
    running++
    try {
      return await work()
    } finally {
      running--
      waiting.shift()?.()
    }
  }

  return (work) => {
    if (running < limit && waiting.length === 0) return run(work)
    return new Promise((resolve, reject) => {
      waiting.push(() => void run(work).then(resolve, reject))
    })
  }
}
