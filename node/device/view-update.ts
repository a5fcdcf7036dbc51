/** The updates side of `NodeView`: channels, releases, how far devices are, and what owners decide. */
import { peerIdOf } from '../../protocols/identity/index.ts'
import type { UpdateReport } from '../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type {
  ChannelStateView,
  DeviceUpdateView,
  FetchLine,
  InstalledView,
  ReleaseView,
  TransferView,
  UpdateSourceView,
  UpdatesState,
  UpdateView,
} from '../api/view.ts'
import { NodeError } from '../errors.ts'
import {
  blockedText,
  exportChannel,
  importChannel,
  trustRoot,
  type ChannelClient,
  type Release,
  type Transferred,
  type TransferOptions,
} from '../services/update/tuf/index.ts'
import type { Progress, Updates } from '../services/update/update.ts'
import type { DeviceBase } from './base.ts'
import type { UpdatingHome as Home } from './update.ts'
import { changedRollout, rolloutView, setUpdatePolicy, withChannel } from './update-rollout.ts'

const LINE_CHARS = 512 * 1024

export function updateView(base: DeviceBase, requireHome: () => Home): UpdateView {
  return {
    updates: async () => stateOf(base, requireHome()),
    async trustChannel({ name, root }) {
      const home = requireHome()
      const { pin } = trustRoot(bytesOf(root))
      setUpdatePolicy(home, withChannel(home.updates.policy(), { name, root: pin }))
      await home.updates.updates.look()
      await home.updates.publisher.renew()
      return channelView(base, home, name)
    },
    async distrustChannel(name) {
      const home = requireHome()
      const { channels, rollout } = home.updates.policy()
      requireChannel(home, name)
      setUpdatePolicy(home, { channels: channels.filter((one) => one.name !== name), rollout })
    },
    async acceptSigned(channel, { role, file, targets, indexes }) {
      const home = requireHome()
      const { publisher, blobs } = home.updates
      requireChannel(home, channel)
      // Its chunks came by the hand of another process.
      await blobs.refresh()
      const draft = bytesOf(file)
      if (role === 'root') {
        await publisher.root(channel, {
          draft,
          targets: targets === undefined ? undefined : bytesOf(targets),
        })
      } else await publisher.targets(channel, { draft, indexes: indexes.map(bytesOf) })
      return channelView(base, home, channel)
    },
    async changeRollout(change) {
      const home = requireHome()
      const { channels } = home.updates.policy()
      const rollout = changedRollout(base, home, change)
      setUpdatePolicy(home, { channels, rollout })
      return rolloutView(home, home.updates.policy().rollout)
    },
    async rollbackUpdate(name) {
      const { updates } = requireHome().updates
      const outcome = await updates.rollback(name, new AbortController().signal)
      const why = outcome.what === 'rolled-back' ? outcome.why : outcome.what
      return { name, why }
    },
    async forgiveUpdate(name, build) {
      const home = requireHome()
      const { release } = listed(home, { name, build })
      await home.updates.forgive(name, release.sha256)
      await home.updates.updates.look()
    },
    fetchRelease: (name, { build }, signal) => fetchLines(requireHome, { name, build }, signal),
    exportChannel: async (channel, folder) =>
      transfer(requireHome(), { channel, folder }, exportChannel),
    importChannel: async (channel, folder) =>
      transfer(requireHome(), { channel, folder }, importChannel),
  }
}

async function stateOf(base: DeviceBase, home: Home): Promise<UpdatesState> {
  const { updates, blobs, policy } = home.updates
  const { bytes, maxBytes } = blobs.usage()
  const channels = await Promise.all(
    policy().channels.map(({ name }) => channelView(base, home, name)),
  )
  const own = updates.progress()
  const devices = updates
    .reports()
    .map((report) => deviceView(base, home, report, own))
    .toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
  return {
    channels,
    rollout: rolloutView(home, policy().rollout),
    devices,
    installed: await installedHere(updates),
    store: { bytes, maxBytes },
  }
}

function placeOf({ name, deviceName, device }: DeviceUpdateView): string {
  return `${name} ${deviceName} ${device}`
}

async function installedHere(updates: Updates): Promise<InstalledView[]> {
  const states = await updates.installed()
  return states.flatMap(({ installed, previous }) =>
    installed === undefined
      ? []
      : [
          {
            name: installed.name,
            version: installed.version,
            build: installed.build,
            previous: previous === undefined ? null : `${previous.version} (${previous.build})`,
          },
        ],
  )
}

async function channelView(base: DeviceBase, home: Home, name: string): Promise<ChannelStateView> {
  const { updates, publisher, policy } = home.updates
  const view = updates.view(name)
  const pin = policy().channels.find((one) => one.name === name)
  const { timestamp } = view?.roles ?? {}
  const { blocked } = view ?? {}
  return {
    name,
    root: pin === undefined ? '' : toHex(pin.root),
    timestamp: timestamp?.version ?? null,
    expiresAt: timestamp?.expiresMs ?? null,
    blocked: blocked === undefined ? null : blockedText(blocked, base.clock.now()),
    signedHere: await publisher.signsFor(name),
    releases: (view?.releases ?? []).map(releaseView),
  }
}

function releaseView({ name, version, build, sha256, conflict }: Release): ReleaseView {
  return { name, version, build, id: sha256, conflict }
}

function deviceView(
  { signer }: DeviceBase,
  home: Home,
  report: UpdateReport,
  own: readonly Progress[],
): DeviceUpdateView {
  const self = equalBytes(report.device, signer.key)
  const here = self ? own.find(({ index }) => equalBytes(index, report.index)) : undefined
  // What this device does itself is known better than it was last said.
  const { channel, name, version, build, index, phase, ring, percent, code, from, runs } =
    here ?? report
  return {
    device: peerIdOf(report.device),
    deviceName: nameOf(home, report.device),
    self,
    channel,
    name,
    version,
    build,
    index: toHex(index),
    phase,
    at: report.at,
    ring: ring ?? null,
    percent: percent ?? null,
    code: code ?? null,
    ...waitingOf(here),
    from: from.map((one) => sourceView(home, one)),
    runs: runs ?? null,
  }
}

function waitingOf(here: Progress | undefined): Pick<DeviceUpdateView, 'why' | 'until'> {
  return { why: here?.why ?? null, until: here?.untilMs ?? null }
}

function sourceView(
  home: Home,
  { peer, bytes }: { readonly peer: Uint8Array; readonly bytes: number },
): UpdateSourceView {
  return { device: peerIdOf(peer), name: nameOf(home, peer), bytes }
}

function nameOf({ members }: Home, key: Uint8Array): string {
  const { devices, removed } = members.state
  return devices.get(toHex(key))?.name ?? removed.get(toHex(key))?.name ?? ''
}

async function* fetchLines(
  requireHome: () => Home,
  wanted: { readonly name: string; readonly build: number | undefined },
  signal: AbortSignal,
): AsyncGenerator<FetchLine> {
  const home = requireHome()
  const found = listed(home, wanted)
  const waiting: FetchLine[] = []
  let wake = Promise.withResolvers<void>()
  const fetching = home.updates.updates.fetch(found, signal, ({ doneBytes, bytes, peers }) => {
    waiting.push({ doneBytes, bytes, peers })
    wake.resolve()
  })
  const done = fetching.then(
    () => true,
    () => true,
  )
  for (let over = false; !over;) {
    over = (await Promise.race([done, wake.promise])) === true
    wake = Promise.withResolvers<void>()
    yield* waiting.splice(0)
  }
  const { index, from } = await fetching
  const text = Buffer.from(index).toString('base64')
  const id = found.release.sha256
  for (let at = 0; at < text.length; at += LINE_CHARS) {
    const piece = { id, index: text.slice(at, at + LINE_CHARS) }
    const last = at + LINE_CHARS >= text.length
    yield last ? { ...piece, from: from.map((one) => sourceView(home, one)) } : piece
  }
}

function listed(
  { updates: { updates } }: Home,
  { name, build }: { readonly name: string; readonly build: number | undefined },
): { readonly channel: string; readonly release: Release } {
  for (const channel of updates.channels.names()) {
    const fits = (updates.view(channel)?.releases ?? []).filter(
      (one) => one.name === name && !one.conflict && (build === undefined || one.build === build),
    )
    const release = fits.toSorted((a, b) => b.build - a.build)[0]
    if (release !== undefined) return { channel, release }
  }
  const which = build === undefined ? name : `${name} build ${build}`
  throw new NodeError('NODE_NOT_FOUND', `No channel of this home lists ${which}.`, {
    hint: 'See what there is with: kith update list',
  })
}

async function transfer(
  home: Home,
  { channel, folder }: { readonly channel: string; readonly folder: string },
  run: (options: TransferOptions, signal: AbortSignal) => Promise<Transferred>,
): Promise<TransferView> {
  const { updates, blobs } = home.updates
  const client = requireChannel(home, channel)
  const { releases, chunks, bytes, missing } = await run(
    { folder, client, chunks: blobs },
    new AbortController().signal,
  )
  await blobs.flush()
  updates.channels.refreshed(channel)
  return { channel, releases, chunks, bytes, missing }
}

function requireChannel({ updates: { updates } }: Home, name: string): ChannelClient {
  const client = updates.channels.client(name)
  if (client !== undefined) return client
  throw new NodeError('NODE_NOT_FOUND', `This home has no channel ${name}.`, {
    hint: 'Make one with "kith update init", or trust one with "kith update trust ROOT.json".',
  })
}

function bytesOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'))
}
