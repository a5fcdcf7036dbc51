/**
 * The resolver of this process, cut for a while: no name of the outside becomes an address. Names that
 * are resolved at home — `localhost` and those of mDNS — still do.
 */
import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'

export interface CutResolver extends Disposable {
  /** Names that were asked for meanwhile. */
  readonly asked: ReadonlySet<string>
}

const MAX_ASKED = 100

/** Once at a time. Whoever connects by name in this process asks here. */
export function cutResolver(): CutResolver {
  const { lookup } = dns
  const { lookup: lookupLater } = dns.promises
  const asked = new Set<string>()
  const refusal = (name: string): NodeJS.ErrnoException => {
    if (asked.size < MAX_ASKED) asked.add(name)
    const error = new Error(`${name} is not resolved while the outside is cut`)
    return Object.assign(error, { code: 'ENOTFOUND', hostname: name })
  }
  const cut = (name: string, ...rest: unknown[]): void => {
    if (isOfHome(name)) return Reflect.apply(lookup, dns, [name, ...rest]) as undefined
    const done = rest.at(-1) as (error: Error) => void
    process.nextTick(done, refusal(name))
  }
  const cutLater = async (name: string, ...rest: unknown[]): Promise<unknown> => {
    if (isOfHome(name)) return await Reflect.apply(lookupLater, dns.promises, [name, ...rest])
    throw refusal(name)
  }
  dns.lookup = cut as typeof lookup
  dns.promises.lookup = cutLater as typeof lookupLater
  // For those who import it by name.
  syncBuiltinESMExports()
  return {
    asked,
    [Symbol.dispose]() {
      dns.lookup = lookup
      dns.promises.lookup = lookupLater
      syncBuiltinESMExports()
    },
  }
}

function isOfHome(name: string): boolean {
  const host = name.toLowerCase().replace(/\.$/, '')
  return host === 'localhost' || host.endsWith('.localhost') || host.endsWith('.local')
}
