/**
 * The network interfaces of this machine, and when they change. Node has no netlink, so the list is
 * compared once a second: it costs 0.1 ms, and a device must notice a cable within a second to be
 * talking again within two. A caller that has a reason (a send that failed, a connection that broke)
 * asks for a comparison at once. libuv lists only interfaces that are up and have a carrier, so a
 * pulled cable shows as an interface that is gone.
 */
import { networkInterfaces } from 'node:os'

import { parseIp6 } from '../../protocols/discovery/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'

import type { Clock } from '../env.ts'

export interface Link {
  readonly name: string
  /** Kernel index: another one means another interface under an old name. */
  readonly index: number
  /** Canonical text without zone. */
  readonly ip6: readonly string[]
  readonly ip4: readonly string[]
}

export interface LinkChange {
  readonly links: readonly Link[]
  /** New, or back. */
  readonly gained: readonly Link[]
  /** Gone, or without carrier. */
  readonly lost: readonly Link[]
  /** Same interface, other addresses. */
  readonly changed: readonly Link[]
}

export interface LinkWatch extends Disposable {
  readonly links: readonly Link[]
  /** Compare now. */
  check(): void
}

const COMPARE_EVERY_MS = 1000

/** Interfaces other than loopback, of those in `only` where it is given. */
export function readLinks(only?: readonly string[]): Link[] {
  const links: Link[] = []
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    const outside = (addresses ?? []).filter((address) => !address.internal)
    if (outside.length === 0 || only?.includes(name) === false) continue
    const ip6 = outside.filter((address) => address.family === 'IPv6')
    const ip4 = outside.filter((address) => address.family === 'IPv4')
    links.push({
      name,
      index: ip6.find((address) => address.scopeid)?.scopeid ?? 0,
      ip6: ip6.map((address) => address.address),
      ip4: ip4.map((address) => address.address),
    })
  }
  return links
}

export function watchLinks(
  deps: { readonly clock: Clock; readonly read: () => Link[] },
  onChange: (change: LinkChange) => void,
): LinkWatch {
  let links: readonly Link[] = deps.read()
  let cancel = (): void => {}
  let stopped = false

  function compare(): void {
    if (stopped) return
    cancel()
    cancel = deps.clock.timer(COMPARE_EVERY_MS, compare)
    const before = links
    links = deps.read()
    const change = compareLinks(before, links)
    if (change !== undefined) onChange(change)
  }

  cancel = deps.clock.timer(COMPARE_EVERY_MS, compare)
  return {
    get links() {
      return links
    },
    check: compare,
    [Symbol.dispose]() {
      stopped = true
      cancel()
    },
  }
}

/** What differs, or undefined. An interface under another index counts as lost and gained. */
export function compareLinks(
  before: readonly Link[],
  after: readonly Link[],
): LinkChange | undefined {
  const identity = (link: Link): string => `${link.index} ${link.name}`
  const content = (link: Link): string =>
    `${identity(link)} ${link.ip6.toSorted().join()} ${link.ip4.toSorted().join()}`
  const old = new Map(before.map((link) => [identity(link), link]))
  const now = new Map(after.map((link) => [identity(link), link]))
  const change: LinkChange = {
    links: after,
    gained: after.filter((link) => !old.has(identity(link))),
    lost: before.filter((link) => !now.has(identity(link))),
    changed: after.filter((link) => {
      const was = old.get(identity(link))
      return was !== undefined && content(was) !== content(link)
    }),
  }
  return change.gained.length + change.lost.length + change.changed.length === 0
    ? undefined
    : change
}

/** Autoconfigured prefixes are this long (RFC 4862). */
const PREFIX_BYTES = 8

/** The name of the first link with an address of the same /64 as `host`: both are on it. */
export function linkOfPrefix(links: readonly Link[], host: string): string | undefined {
  const prefix = parseIp6(host)?.subarray(0, PREFIX_BYTES)
  if (prefix === undefined) return undefined
  const sharesPrefix = (own: string): boolean => {
    const other = parseIp6(own)?.subarray(0, PREFIX_BYTES)
    return other !== undefined && equalBytes(prefix, other)
  }
  return links.find(({ ip6 }) => ip6.some(sharesPrefix))?.name
}

/** The name of the link that has the address `host`. */
export function linkWith(
  links: readonly Link[] | undefined,
  host: string | undefined,
): string | undefined {
  return links?.find(({ ip6, ip4 }) => host !== undefined && [...ip6, ...ip4].includes(host))?.name
}
