/** Keys that change while devices follow, devices that take turns, and what others are given meanwhile. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, it } from 'node:test'

import { openChannelClient, type ChannelClient } from '../../node/services/update/tuf/client.ts'
import {
  missingIn,
  readDraft,
  rotation,
  signDraftFolder,
  writeDraft,
} from '../../node/services/update/tuf/draft-folder.ts'
import {
  acceptRoot,
  folderSource,
  initChannel,
  listKeyFiles,
  newUpdateKey,
  openOnlineKeys,
  readKeyFile,
  readPublicKey,
  readRepository,
  renewChannel,
  signDraft,
  TufError,
  writeKeyFile,
  writePublicKey,
} from '../../node/services/update/tuf/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import {
  Channel,
  DAY,
  follower,
  indexOf,
  inTime,
  random,
  refused,
  START_MS,
} from '../helpers/tuf.ts'

const silent = (): Promise<undefined> => Promise.resolve(undefined)
let dir = ''
const at = (name: string): string => join(dir, name)

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-rotation-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function init() {
  const made = await initChannel({
    folder: at('channel'),
    channel: 'home',
    keysFolder: at('old'),
    onlineFolder: at('online'),
    random,
    nowMs: START_MS,
  })
  const online = await openOnlineKeys(at('online'), made.root)
  const files = await readRepository(at('channel'))
  return { ...made, online, files }
}

async function device(pin: Uint8Array): Promise<ChannelClient> {
  await mkdir(at('device'), { recursive: true, mode: 0o700 })
  const time = () => ({ nowMs: START_MS, floorMs: 0, quality: 'synced' as const })
  return openChannelClient({
    folder: at('device'),
    channel: 'home',
    pin,
    clock: virtualClock(),
    time,
  })
}

/** New keys for root and targets, signed by all who must. */
async function rotated({ files }: Awaited<ReturnType<typeof init>>) {
  const fresh = [newUpdateKey('home', 'root', random), newUpdateKey('home', 'targets', random)]
  for (const key of fresh) await writeKeyFile(at('new'), key, { random })
  const remove = (await listKeyFiles(at('old'))).map(({ id }) => id)
  const draft = rotation(files, { add: fresh, remove, nowMs: START_MS })
  await writeDraft(at('draft'), draft)
  assert.equal(await missingIn(at('draft')), 2)
  for (const keysFolder of [at('old'), at('new')]) {
    await signDraftFolder(at('draft'), { keysFolder, ask: silent })
  }
  assert.equal(await missingIn(at('draft')), 0)
  const { root = new Uint8Array(), targets } = await readDraft(at('draft'))
  return { draft: root, targets }
}

it('takes new keys for releases only with a list that they signed', async () => {
  const home = await init()
  const client = await device(home.pin)
  const source = folderSource(at('channel'))
  const before = (await client.refresh(source, inTime())).roles.timestamp?.version ?? 0
  const { draft, targets } = await rotated(home)
  const change = { folder: at('channel'), online: home.online, nowMs: START_MS }
  await refused(acceptRoot({ ...change, draft }), 'TUF_NOT_SIGNED', 'targets')
  await client.refresh(source, inTime())
  await acceptRoot({ ...change, draft, targets })
  const after = await client.refresh(source, inTime())
  assert.equal(after.roles.root?.version, 2)
  assert.ok((after.roles.timestamp?.version ?? 0) > before)
  assert.equal(client.complete(), after.roles.timestamp?.version)
})

it('goes on with the old keys after a power cut between the list and the root', async () => {
  const home = await init()
  const client = await device(home.pin)
  const { draft, targets } = await rotated(home)
  await writeFile(at('channel/metadata/2.targets.json'), targets)
  const change = { folder: at('channel'), online: home.online, nowMs: START_MS + DAY }
  await renewChannel(change)
  const source = folderSource(at('channel'))
  assert.equal((await client.refresh(source, inTime())).roles.targets?.version, 1)
  await acceptRoot({ ...change, draft, targets })
  assert.equal((await client.refresh(source, inTime())).roles.targets?.version, 2)
})

it('leaves signing anew to the device that the root names first, while that one is on', async () => {
  const { files, online } = await init()
  const more = [newUpdateKey('home', 'snapshot', random), newUpdateKey('home', 'timestamp', random)]
  for (const key of more) await writeKeyFile(at('other'), key, { random })
  const old = await Promise.all(
    (await listKeyFiles(at('old'))).map(({ path }) => readKeyFile(path, silent)),
  )
  const made = rotation(files, { add: more, nowMs: START_MS })
  const rootKeys = old.filter(({ role }) => role === 'root')
  const draft = signDraft(made.root, rootKeys, files.root)
  const folder = at('channel')
  await acceptRoot({ folder, draft, online, nowMs: START_MS })
  const other = await openOnlineKeys(at('other'), draft)
  const renewed = async (keys: typeof online, days: number): Promise<boolean> =>
    (await renewChannel({ folder, online: keys, nowMs: START_MS + days * DAY })).renewed
  assert.equal(await renewed(other, 1.1), false)
  assert.equal(await renewed(other, 1.3), true)
  assert.equal(await renewed(online, 2.4), true)
})

it('hands on what is complete, also while it takes what is newer', async () => {
  const channel = new Channel()
  channel.list({ add: [indexOf('1.0.0', 1)] })
  await using one = await follower(channel)
  await one.refresh(channel)
  const [timestamp, snapshot] = [channel.version.timestamp, channel.version.snapshot]
  channel.list({ add: [indexOf('1.1.0', 2)] })
  const torn = channel.copy()
  torn.files.delete(`${torn.version.snapshot}.snapshot.json`)
  await refused(one.refresh(torn), 'TUF_MISSING')
  const given = async (): Promise<number> => {
    const bytes = (await one.client.file('timestamp.json')) ?? new Uint8Array()
    const { signed } = JSON.parse(Buffer.from(bytes).toString()) as { signed: { version: number } }
    return signed.version
  }
  assert.deepEqual([one.client.complete(), await given()], [timestamp, timestamp])
  await one.refresh(channel)
  assert.deepEqual([one.client.complete(), await given()], [timestamp + 1, timestamp + 1])
  // Another is in the middle of the one before.
  assert.ok(await one.client.file(`${snapshot}.snapshot.json`))
  await one.restart()
  assert.equal(one.client.complete(), timestamp + 1)
})

it('reads public keys of its channel alone, and only what is one', async () => {
  const key = newUpdateKey('home', 'targets', random)
  const path = await writePublicKey(dir, key)
  assert.equal((await readPublicKey(path, 'home')).id, key.id)
  await refused(readPublicKey(path, 'vendor'), 'TUF_WRONG_KEY')
  for (const text of ['', 'null', '{}', `{"id":"${key.id}"}`, 'x'.repeat(5_000)]) {
    await writeFile(at('bad'), text)
    await assert.rejects(readPublicKey(at('bad'), 'home'), TufError)
  }
})
