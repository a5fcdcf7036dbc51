import assert from 'node:assert/strict'
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, it } from 'node:test'

import { openChannelClient, type ChannelClient } from '../../node/services/update/tuf/client.ts'
import {
  acceptRoot,
  acceptTargets,
  exportChannel,
  folderSource,
  importChannel,
  initChannel,
  inspect,
  inspectKeyFile,
  listKeyFiles,
  newUpdateKey,
  nextRoot,
  nextTargets,
  openOnlineKeys,
  readKeyFile,
  readRepository,
  renewChannel,
  signDraft,
  signMetadata,
  TufError,
  trustRoot,
  writeKeyFile,
  type Chunks,
  type OnlineKeys,
  type TufErrorCode,
} from '../../node/services/update/tuf/index.ts'
import { openMetadata } from '../../node/services/update/tuf/metadata.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { rawOf, type Blob, type BlobName } from '../../node/storage/blobs.ts'
import { virtualClock } from '../helpers/clock.ts'
import { DAY, indexOf, pathOf, random, START_MS } from '../helpers/tuf.ts'

let dir: string
const at = (...parts: string[]): string => join(dir, ...parts)
const signal = AbortSignal.timeout(60_000)
const silent = (): Promise<undefined> => Promise.resolve(undefined)

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-channel-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

function coded(code: TufErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TufError, String(error))
    assert.equal(error.code, code, error.message)
    return true
  }
}

async function init(options: Partial<Parameters<typeof initChannel>[0]> = {}) {
  const made = await initChannel({
    folder: at('channel'),
    channel: 'home',
    keysFolder: at('stick'),
    onlineFolder: at('online'),
    random,
    nowMs: START_MS,
    ...options,
  })
  return { ...made, online: await openOnlineKeys(at('online'), made.root) }
}

async function publish(online: OnlineKeys, indexes: readonly Uint8Array[], nowMs = START_MS) {
  const { targets, root } = await readRepository(at('channel'))
  const file = at('draft.json')
  await writeFile(file, nextTargets(targets, { add: indexes, nowMs }))
  await signMetadata({ file, keysFolder: at('stick'), ask: silent, root })
  const draft = new Uint8Array(await readFile(file))
  await acceptTargets({ folder: at('channel'), draft, indexes, online, nowMs })
}

function device(name: string, pin: Uint8Array, nowMs = START_MS): Promise<ChannelClient> {
  return openChannelClient({
    folder: at(name),
    channel: 'home',
    pin,
    clock: virtualClock(nowMs),
    time: () => ({ nowMs, floorMs: 0, quality: 'synced' }),
  })
}

it('makes a channel whose keys nobody else can read, and a device follows it', async () => {
  const { pin, offline, online, root } = await init()
  assert.deepEqual(trustRoot(root).pin, pin)
  for (const path of offline) assert.equal((await stat(path)).mode & 0o777, 0o600)
  await publish(online, [indexOf('1.0.0', 1)])
  const client = await device('a', pin)
  const view = await client.refresh(folderSource(at('channel')), signal)
  assert.deepEqual(
    view.releases.map(({ path }) => path),
    [pathOf('1.0.0', 1)],
  )
  await assert.rejects(init(), coded('TUF_CHANNEL'))
})

it('signs in several steps with keys in several places', async () => {
  const { online } = await init({ keys: { root: 1, targets: 3 }, thresholds: { targets: 2 } })
  const index = indexOf('1.0.0', 1)
  const { targets, root } = await readRepository(at('channel'))
  const file = at('draft.json')
  await writeFile(file, nextTargets(targets, { add: [index], nowMs: START_MS }))
  const all = (await listKeyFiles(at('stick'))).filter(({ role }) => role === 'targets')
  for (const [i, { path }] of all.entries()) {
    await mkdir(at(`stick${i}`), { mode: 0o700 })
    await rename(path, join(at(`stick${i}`), path.split('/').at(-1) ?? ''))
  }
  const accept = async (): Promise<void> => {
    const draft = new Uint8Array(await readFile(file))
    await acceptTargets({ folder: at('channel'), draft, indexes: [index], online, nowMs: START_MS })
  }
  const one = await signMetadata({ file, keysFolder: at('stick0'), ask: silent, root })
  assert.deepEqual(
    one.towards.map(({ need, have }) => [need, have.length]),
    [[2, 1]],
  )
  await assert.rejects(accept(), coded('TUF_NOT_SIGNED'))
  await signMetadata({ file, keysFolder: at('stick0'), ask: silent, root })
  await assert.rejects(accept(), coded('TUF_NOT_SIGNED'))
  // Without the root: the second machine has nothing but the draft and its key.
  const two = await signMetadata({ file, keysFolder: at('stick1'), ask: silent })
  assert.equal(two.signed.length, 1)
  await accept()
  await assert.rejects(
    signMetadata({ file, keysFolder: at('stick'), ask: silent }),
    coded('TUF_WRONG_KEY'),
  )
})

it('keeps a key under a passphrase, and tells a wrong one from a damaged file', async () => {
  const key = newUpdateKey('home', 'root', random)
  const path = await writeKeyFile(at('keys'), key, { random, passphrase: 'drei kleine Hühner' })
  assert.ok(!(await readFile(path, 'utf8')).includes('private'))
  assert.equal((await inspectKeyFile(path)).encrypted, true)
  // A stick without permissions: what is encrypted may lie there.
  await chmod(path, 0o644)
  const read = await readKeyFile(path, () => Promise.resolve('drei kleine Hu\u0308hner'))
  assert.equal(read.id, key.id)
  await assert.rejects(
    readKeyFile(path, () => Promise.resolve('vier')),
    coded('TUF_PASSPHRASE'),
  )
  await assert.rejects(readKeyFile(path, silent), coded('TUF_KEY_FILE'))
  const file = JSON.parse(await readFile(path, 'utf8'))
  for (const change of [{ role: 'targets' }, { channel: 'other' }]) {
    await writeFile(path, JSON.stringify({ ...file, ...change }))
    await assert.rejects(
      readKeyFile(path, () => Promise.resolve('drei kleine Hühner')),
      coded('TUF_PASSPHRASE'),
    )
  }
  await writeFile(path, JSON.stringify({ ...file, encrypted: { ...file.encrypted, n: 2 ** 30 } }))
  await assert.rejects(
    readKeyFile(path, () => Promise.resolve('x')),
    coded('TUF_KEY_FILE'),
  )
})

it('refuses a plain key that others can read, and one whose halves do not fit', async () => {
  const path = await writeKeyFile(at('keys'), newUpdateKey('home', 'root', random), { random })
  await readKeyFile(path, silent)
  await chmod(path, 0o644)
  await assert.rejects(readKeyFile(path, silent), coded('TUF_KEY_FILE'))
  await chmod(path, 0o600)
  const other = await writeKeyFile(at('keys'), newUpdateKey('home', 'root', random), { random })
  const mixed = JSON.parse(await readFile(path, 'utf8'))
  mixed.private = JSON.parse(await readFile(other, 'utf8')).private
  await writeFile(path, JSON.stringify(mixed))
  await assert.rejects(readKeyFile(path, silent), coded('TUF_KEY_FILE'))
})

it('renews snapshot and timestamp once a day, and no sooner', async () => {
  const { pin, online } = await init()
  const folder = at('channel')
  const renew = (nowMs: number) => renewChannel({ folder, online, nowMs })
  assert.deepEqual(await renew(START_MS + DAY - 1), { renewed: false })
  assert.deepEqual(await renew(START_MS + DAY), { renewed: true })
  assert.deepEqual(await renew(START_MS + DAY), { renewed: false })
  await renew(START_MS + 60 * DAY)
  const client = await device('a', pin, START_MS + 80 * DAY)
  const view = await client.refresh(folderSource(folder), signal)
  assert.deepEqual([view.roles.timestamp?.version, view.roles.snapshot?.version], [3, 2])
})

it('signs nothing with a clock that fell back or leapt ahead', async () => {
  const { online } = await init()
  const folder = at('channel')
  const renew = (nowMs: number) => renewChannel({ folder, online, nowMs })
  await assert.rejects(renew(0), coded('TUF_CLOCK'))
  await assert.rejects(renew(Date.UTC(2099, 0)), coded('TUF_EXPIRED'))
  assert.deepEqual(await renew(START_MS + 1), { renewed: false })
})

it('mends a snapshot or timestamp that a power cut kept from being written', async () => {
  const { pin, online } = await init()
  const folder = at('channel')
  const before = await readFile(join(folder, 'metadata/timestamp.json'))
  await publish(online, [indexOf('1.0.0', 1)])
  await writeFile(join(folder, 'metadata/timestamp.json'), before)
  await rm(join(folder, 'metadata/2.snapshot.json'))
  await renewChannel({ folder, online, nowMs: START_MS })
  const view = await (await device('a', pin)).refresh(folderSource(folder), signal)
  assert.equal(view.releases.length, 1)
})

it('refuses to publish another release under a name that was used, even when it was taken back', async () => {
  const { pin, online } = await init()
  const folder = at('channel')
  await publish(online, [indexOf('1.0.0', 1)])
  const add = (index: Uint8Array) => async (): Promise<Uint8Array> =>
    nextTargets((await readRepository(folder)).targets, { add: [index], nowMs: START_MS })
  await assert.rejects(add(indexOf('1.0.0', 1, 'other')), coded('TUF_CONFLICT'))
  await assert.rejects(add(indexOf('1.0.1', 1)), coded('TUF_CONFLICT'))
  await add(indexOf('1.0.0', 2))()
  const now = await readRepository(folder)
  const removed = nextTargets(now.targets, { remove: [pathOf('1.0.0', 1)], nowMs: START_MS })
  const keys = await Promise.all(
    (await listKeyFiles(at('stick'))).map(({ path }) => readKeyFile(path, silent)),
  )
  const draft = signDraft(
    removed,
    keys.filter(({ role }) => role === 'targets'),
    now.root,
  )
  await acceptTargets({ folder, draft, indexes: [], online, nowMs: START_MS })
  await assert.rejects(add(indexOf('1.0.0', 1, 'other')), coded('TUF_CONFLICT'))
  const view = await (await device('late', pin)).refresh(folderSource(folder), signal)
  assert.deepEqual(view.releases, [])
  assert.deepEqual(
    view.witnessed.map(({ withdrawn }) => withdrawn),
    [true],
  )
})

it('changes root keys with the old and the new ones, signed on two machines', async () => {
  const { pin, root, online } = await init()
  const folder = at('channel')
  const fresh = newUpdateKey('home', 'root', random)
  await writeKeyFile(at('new-stick'), fresh, { random })
  const old = openMetadata('root', root).signed.roles['root']?.keyIDs ?? []
  const file = at('2.root.json')
  await writeFile(file, nextRoot(root, { add: [fresh], remove: old, nowMs: START_MS }))
  const draft = async (): Promise<Uint8Array> => new Uint8Array(await readFile(file))
  const accept = async (): Promise<void> =>
    acceptRoot({ folder, draft: await draft(), online, nowMs: START_MS })
  await signMetadata({ file, keysFolder: at('new-stick'), ask: silent })
  await assert.rejects(accept(), coded('TUF_NOT_SIGNED'))
  const done = await signMetadata({ file, keysFolder: at('stick'), ask: silent, root })
  assert.deepEqual(
    done.towards.map(({ have }) => have.length),
    [1, 1],
  )
  await accept()
  const view = await (await device('a', pin)).refresh(folderSource(folder), signal)
  assert.equal(view.roles.root?.version, 2)
  assert.throws(() => nextRoot(root, { remove: old, nowMs: START_MS }), coded('TUF_CHANNEL'))
})

it('says what a file is', async () => {
  const { offline } = await init()
  const [file = ''] = offline
  assert.equal((await inspect(file)).kind, 'key')
  const root = await inspect(at('channel/metadata/1.root.json'))
  assert.ok(root.kind === 'metadata' && root.role === 'root' && root.keys?.length === 4)
  await writeFile(at('x.index'), indexOf('1.0.0', 1))
  const index = await inspect(at('x.index'))
  assert.ok(index.kind === 'index' && index.path === pathOf('1.0.0', 1))
  await writeFile(at('junk'), '{"signed":{}}')
  await assert.rejects(inspect(at('junk')), coded('TUF_MALFORMED'))
})

function chunksOf(...contents: string[]): Chunks & { readonly all: Map<string, Blob> } {
  const all = new Map<string, Blob>()
  for (const text of contents) {
    const bytes = new TextEncoder().encode(text)
    all.set(toHex(sha256(bytes)), { codec: 0, bytes })
  }
  return {
    all,
    has: (hash) => all.has(toHex(hash)),
    get: (hash) => Promise.resolve(all.get(toHex(hash))),
    put: async (chunk: BlobName, blob) => {
      rawOf(chunk, blob)
      all.set(toHex(chunk.hash), blob)
    },
  }
}

async function stick() {
  const { pin, online } = await init()
  const index = indexOf('1.0.0', 1, 'the program')
  await publish(online, [index])
  const client = await device('a', pin)
  const view = await client.refresh(folderSource(at('channel')), signal)
  for (const one of view.releases) await client.index(one, folderSource(at('channel')), signal)
  const chunks = chunksOf('the program')
  const done = await exportChannel({ folder: at('usb'), client, chunks }, signal)
  return { pin, online, client, chunks, done }
}

it('carries a channel on a stick to a device that nobody reaches', async () => {
  const { pin, done, client, chunks } = await stick()
  assert.deepEqual([done.releases, done.chunks, done.missing], [1, 1, 0])
  const again = await exportChannel({ folder: at('usb'), client, chunks }, signal)
  assert.equal(again.chunks, 0)
  const far = await device('far', pin)
  const got = chunksOf()
  const taken = await importChannel({ folder: at('usb'), client: far, chunks: got }, signal)
  assert.deepEqual([taken.releases, taken.chunks, taken.missing], [1, 1, 0])
  assert.equal(got.all.size, 1)
  const [release] = taken.view.releases
  assert.ok(release !== undefined)
  assert.deepEqual(await far.index(release, undefined, signal), indexOf('1.0.0', 1, 'the program'))
})

it('refuses a folder that holds another channel, or leads elsewhere', async () => {
  const { pin, client, chunks } = await stick()
  const far = await device('far', pin)
  const take = (folder: string, maxBytes = 1_000_000) =>
    importChannel({ folder, client: far, chunks: chunksOf(), maxBytes }, signal)
  await assert.rejects(take(at('nothing')), (error) => error instanceof Error)
  await mkdir(at('empty'))
  await assert.rejects(take(at('empty')), coded('TUF_FOLDER'))
  await writeFile(at('empty/channel.json'), '{"kind":"kith-channel","v":1,"channel":"../x"}')
  await assert.rejects(take(at('empty')), coded('TUF_FOLDER'))
  await assert.rejects(
    exportChannel({ folder: at('empty'), client, chunks }, signal),
    coded('TUF_FOLDER'),
  )
  await mkdir(at('mine'))
  await writeFile(at('mine/letter.txt'), 'dear')
  await assert.rejects(
    exportChannel({ folder: at('mine'), client, chunks }, signal),
    coded('TUF_FOLDER'),
  )
  assert.deepEqual(await readdir(at('mine')), ['letter.txt'])
  await assert.rejects(take(at('usb'), 3), coded('TUF_TOO_LONG'))

  const variants: Record<string, (folder: string) => Promise<void>> = {
    link: async (folder) => {
      await rm(join(folder, 'metadata/timestamp.json'))
      await symlink(at('channel/metadata/timestamp.json'), join(folder, 'metadata/timestamp.json'))
    },
    linkedFolder: async (folder) => {
      await rm(join(folder, 'metadata'), { recursive: true })
      await symlink(at('channel/metadata'), join(folder, 'metadata'))
    },
    folder: async (folder) => {
      await rm(join(folder, 'metadata/timestamp.json'))
      await mkdir(join(folder, 'metadata/timestamp.json'))
    },
  }
  for (const [name, change] of Object.entries(variants)) {
    await cp(at('usb'), at(name), { recursive: true })
    await change(at(name))
    await assert.rejects(take(at(name)), coded('TUF_FOLDER'), name)
  }
  await cp(at('usb'), at('huge'), { recursive: true })
  await truncate(at('huge/metadata/timestamp.json'), 10_000_000_000)
  await assert.rejects(take(at('huge')), coded('TUF_TOO_LONG'))
  assert.equal(far.view()?.releases.length, 1)
})

it('takes nothing through a link that stands where a folder should be', async () => {
  const { client, chunks } = await stick()
  await mkdir(at('elsewhere'))
  await rm(at('usb/targets'), { recursive: true })
  await symlink(at('elsewhere'), at('usb/targets'))
  await assert.rejects(
    exportChannel({ folder: at('usb'), client, chunks }, signal),
    coded('TUF_FOLDER'),
  )
  assert.deepEqual(await readdir(at('elsewhere')), [])
})

it('leaves a damaged chunk on the stick for peers to bring', async () => {
  const { pin } = await stick()
  const hash = toHex(sha256(new TextEncoder().encode('the program')))
  await writeFile(at('usb/chunks', hash.slice(0, 2), hash), '\0the progrxm')
  const got = chunksOf()
  const taken = await importChannel(
    { folder: at('usb'), client: await device('far', pin), chunks: got },
    signal,
  )
  assert.deepEqual([taken.chunks, taken.missing, got.all.size], [0, 1, 0])
})
