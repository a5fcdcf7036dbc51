/** A channel in memory whose keys the test holds, and devices that follow it. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Metadata, type MetadataKind } from '@tufjs/models'

import {
  openChannelClient,
  type ChannelClient,
  type FetchFile,
} from '../../node/services/update/tuf/client.ts'
import {
  firstRoot,
  makeSnapshot,
  makeTimestamp,
  nextRoot,
  nextTargets,
  signDraft,
  type RootChange,
} from '../../node/services/update/tuf/drafts.ts'
import { TufError, type TufErrorCode } from '../../node/services/update/tuf/errors.ts'
import { newUpdateKey, type UpdateKey } from '../../node/services/update/tuf/key-files.ts'
import type { TufTime } from '../../node/services/update/tuf/listing.ts'
import {
  addSignature,
  encodeMetadata,
  sha256Hex,
  type Role,
} from '../../node/services/update/tuf/metadata.ts'
import { encodeIndex, openIndex, targetPath } from '../../protocols/update/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'
import { virtualClock } from './clock.ts'
import { seededRandom } from './random.ts'

export const START_MS = Date.UTC(2026, 5, 1)
export const DAY = 86_400_000
export const random = seededRandom('tuf')

export type Signed = Record<string, unknown>

/** An index of a release that is one chunk. */
export function indexOf(
  version: string,
  build: number,
  content = `${version} ${build}`,
): Uint8Array {
  const raw = utf8(content)
  return encodeIndex({
    v: 1,
    name: 'app',
    version,
    build,
    for: { hardware: [], arch: [], groups: [], requires: [] },
    installer: 'exec',
    args: {},
    form: 'file',
    rawBytes: raw.length,
    rawHash: sha256(raw),
    chunks: [{ hash: sha256(raw), raw: raw.length, stored: raw.length, codec: 0 }],
  }).bytes
}

export function pathOf(version: string, build: number): string {
  return targetPath({ name: 'app', version, build })
}

export const key = (role: Role): UpdateKey => newUpdateKey('home', role, random)

/** The file with its signed part changed, signed anew by these keys alone. */
export function resign(
  role: Role,
  bytes: Uint8Array,
  change: (signed: Signed) => void,
  keys: readonly UpdateKey[],
): Uint8Array {
  const json = JSON.parse(Buffer.from(bytes).toString()) as { signed: Signed; signatures: object[] }
  change(json.signed)
  json.signatures = []
  const file = Metadata.fromJSON(role as MetadataKind.Targets, json as never)
  for (const one of keys) addSignature(file, one)
  return encodeMetadata(file)
}

export interface ChannelOptions {
  readonly rootKeys?: number
  readonly rootThreshold?: number
  readonly targetsKeys?: number
  readonly targetsThreshold?: number
  readonly nowMs?: number
}

export class Channel {
  readonly files = new Map<string, Uint8Array>()
  readonly asked: string[] = []
  nowMs: number
  root: UpdateKey[]
  targets: UpdateKey[]
  snapshot = key('snapshot')
  timestamp = key('timestamp')
  version = { root: 1, targets: 0, snapshot: 0, timestamp: 0 }

  constructor(options: ChannelOptions = {}) {
    const { rootKeys = 1, rootThreshold = 1, targetsKeys = 1, targetsThreshold = 1 } = options
    this.nowMs = options.nowMs ?? START_MS
    this.root = Array.from({ length: rootKeys }, () => key('root'))
    this.targets = Array.from({ length: targetsKeys }, () => key('targets'))
    const all = [...this.root, ...this.targets, this.snapshot, this.timestamp]
    const thresholds = { root: rootThreshold, targets: targetsThreshold }
    const draft = firstRoot(all, thresholds, { nowMs: this.nowMs })
    this.files.set('1.root.json', signDraft(draft, this.root))
    this.list({})
  }

  get pin(): Uint8Array {
    return sha256(this.get('1.root.json'))
  }

  get(name: string): Uint8Array {
    const found = this.files.get(name)
    if (found === undefined) throw new RangeError(name)
    return found
  }

  newest(role: Exclude<Role, 'timestamp'>): Uint8Array {
    return this.get(`${this.version[role]}.${role}.json`)
  }

  /** A new list of releases, and all above it. */
  list(
    change: { add?: readonly Uint8Array[]; remove?: readonly string[] },
    keys: readonly UpdateKey[] = this.targets,
  ): void {
    const before = this.version.targets === 0 ? undefined : this.newest('targets')
    const draft = nextTargets(before, { ...change, nowMs: this.nowMs })
    this.put(signDraft(draft, keys))
    for (const bytes of change.add ?? []) {
      const { name, version, build } = openIndex(bytes).index
      this.files.set(`${name}/${sha256Hex(bytes)}.${version}-${build}.index`, bytes)
    }
  }

  /** These targets, a snapshot of them, a timestamp of that. */
  put(targets: Uint8Array): void {
    this.version.targets = Number(
      (JSON.parse(Buffer.from(targets).toString()) as { signed: Signed }).signed['version'],
    )
    this.files.set(`${this.version.targets}.targets.json`, targets)
    this.putSnapshot()
  }

  putSnapshot(): void {
    const version = ++this.version.snapshot
    const targets = { version: this.version.targets, bytes: this.newest('targets') }
    const by = { key: this.snapshot, nowMs: this.nowMs }
    this.files.set(`${version}.snapshot.json`, makeSnapshot(version, targets, by))
    this.putTimestamp()
  }

  putTimestamp(by: { key?: UpdateKey; version?: number; days?: number } = {}): void {
    const version = by.version ?? ++this.version.timestamp
    const snapshot = { version: this.version.snapshot, bytes: this.newest('snapshot') }
    const days = by.days === undefined ? {} : { days: by.days }
    const options = { key: by.key ?? this.timestamp, nowMs: this.nowMs, ...days }
    this.files.set('timestamp.json', makeTimestamp(version, snapshot, options))
  }

  /** The next root; `signers` are those who sign it. */
  rotate(change: Omit<RootChange, 'nowMs'>, signers: readonly UpdateKey[]): void {
    const before = this.newest('root')
    const draft = nextRoot(before, { ...change, nowMs: this.nowMs })
    const version = ++this.version.root
    this.files.set(`${version}.root.json`, signDraft(draft, signers, before))
  }

  copy(): Channel {
    const made = Object.create(Channel.prototype) as Channel
    return Object.assign(made, this, {
      files: new Map(this.files),
      asked: [],
      version: { ...this.version },
    })
  }

  get fetch(): FetchFile {
    return (_channel, file) => {
      this.asked.push(file)
      return Promise.resolve(this.files.get(file))
    }
  }
}

/** A device: its folder, its clock, the client. */
export interface Follower extends AsyncDisposable {
  readonly folder: string
  readonly time: { -readonly [K in keyof TufTime]: TufTime[K] }
  client: ChannelClient
  refresh(channel: Channel): ReturnType<ChannelClient['refresh']>
  /** The process ends and starts again. */
  restart(pin?: Uint8Array): Promise<void>
}

export async function follower(channel: Channel): Promise<Follower> {
  const folder = await mkdtemp(join(tmpdir(), 'kith-tuf-'))
  const time = { nowMs: channel.nowMs, floorMs: 0, quality: 'synced' as const }
  const open = (pin: Uint8Array): Promise<ChannelClient> =>
    openChannelClient({
      folder: join(folder, 'home'),
      channel: 'home',
      pin,
      clock: virtualClock(),
      time: () => time,
    })
  const made: Follower = {
    folder,
    time,
    client: await open(channel.pin),
    refresh: (from) => {
      time.nowMs = Math.max(time.nowMs, from.nowMs)
      return made.client.refresh(from.fetch, AbortSignal.timeout(20_000))
    },
    restart: async (pin = channel.pin) => {
      made.client = await open(pin)
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
  return made
}

export const inTime = (): AbortSignal => AbortSignal.timeout(20_000)

export async function refused(
  run: Promise<unknown>,
  code: TufErrorCode,
  about?: string,
): Promise<void> {
  await assert.rejects(run, (error) => {
    assert.ok(error instanceof TufError, String(error))
    assert.equal(error.code, code, error.message)
    if (about !== undefined) assert.equal(error.about, about, error.message)
    return true
  })
}

/** A device that has seen one release of a channel. */
export async function started(options?: ConstructorParameters<typeof Channel>[0]) {
  const channel = new Channel(options)
  channel.list({ add: [indexOf('1.0.0', 1)] })
  const device = await follower(channel)
  await device.refresh(channel)
  return { channel, device }
}

/** Refused by a device that runs, and by one that starts anew. */
export async function refusedBoth(
  device: Follower,
  bad: Channel,
  code: TufErrorCode,
): Promise<void> {
  await refused(device.refresh(bad), code)
  await device.restart()
  await refused(device.refresh(bad), code)
}
