/** What this device keeps and serves: of each name the newest builds, and what runs here. */
import { toHex } from '../../../protocols/wire/index.ts'
import type { Channels } from './channels.ts'
import type { Exchange } from './exchange.ts'
import type { Release } from './tuf/index.ts'
import type { UpdatesDeps } from './types.ts'

/** Builds of a name that are kept. */
const KEPT_BUILDS = 2

interface OfferDeps extends Pick<UpdatesDeps, 'blobs' | 'installs'> {
  readonly channels: Channels
  readonly exchange: Exchange
}

interface OfferOptions {
  /** Whether a release is on its way here. */
  readonly pursued: (id: Uint8Array) => boolean
  readonly signal: AbortSignal
}

/** Offer what is here of the releases that count, and let go of those that do not any more. */
export async function offerKept(deps: OfferDeps, options: OfferOptions): Promise<void> {
  const running = await runningHere(deps)
  const kept = new Set(running)
  for (const channel of deps.channels.names()) {
    const listed = deps.channels.view(channel)?.releases ?? []
    for (const release of newestOf(listed, running)) {
      kept.add(release.sha256)
      const opened = await deps.channels.kept(channel, release, options.signal)
      const some = opened?.chunks.some(({ hash }) => deps.blobs.has(hash)) === true
      if (opened !== undefined && some) deps.exchange.offer(opened)
    }
  }
  await letGo(kept, deps, options)
}

async function runningHere({ installs }: OfferDeps): Promise<ReadonlySet<string>> {
  const ids = new Set<string>()
  for (const name of await installs.names()) {
    const { installed, previous, trial } = await installs.state(name)
    for (const one of [installed, previous, trial?.release]) {
      if (one !== undefined) ids.add(one.id)
    }
  }
  return ids
}

async function letGo(
  kept: ReadonlySet<string>,
  { blobs, channels, exchange }: OfferDeps,
  { pursued }: OfferOptions,
): Promise<void> {
  const ever = new Set(
    channels
      .names()
      .flatMap((name) => channels.view(name)?.witnessed ?? [])
      .map(({ sha256 }) => sha256),
  )
  for (const id of blobs.pins()) {
    const hex = toHex(id)
    // One that nobody has signed yet waits for that.
    if (kept.has(hex) || !ever.has(hex) || pursued(id)) continue
    exchange.withdraw(id)
    await blobs.unpin(id)
  }
}

function newestOf(releases: readonly Release[], running: ReadonlySet<string>): readonly Release[] {
  const byName = Map.groupBy(
    releases.filter(({ conflict }) => !conflict),
    ({ name }) => name,
  )
  return [...byName.values()].flatMap((all) => {
    const newest = all.toSorted((a, b) => b.build - a.build)
    return newest.filter(({ sha256 }, n) => n < KEPT_BUILDS || running.has(sha256))
  })
}
