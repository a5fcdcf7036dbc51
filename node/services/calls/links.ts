/** One stream for calls to each device, opened when it is first needed and kept while it lives. */
import { CALLS, openCaller, type Caller } from '../../../protocols/calls/index.ts'
import type { CallsDeps } from './calls.ts'
import { keyed } from './keyed.ts'

export interface Links {
  /** @throws NodeError NODE_TIMEOUT, NODE_DENIED; `until`'s reason */
  get(device: Uint8Array): Promise<Caller>
}

export function createLinks(mesh: CallsDeps['mesh'], until: AbortSignal): Links {
  const links = new Map<string, Promise<Caller>>()

  async function open(device: Uint8Array, gone: () => void): Promise<Caller> {
    try {
      const stream = await mesh.open(device, CALLS, until)
      const caller = openCaller(stream.channel, { abort: (error) => stream.abort(error) })
      void caller.closed.then(gone)
      return caller
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
