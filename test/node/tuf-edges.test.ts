import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'

import {
  acceptRoot,
  acceptTargets,
  exportChannel,
  importChannel,
  initChannel,
  listKeyFiles,
  newUpdateKey,
  nextRoot,
  nextTargets,
  openOnlineKeys,
  readKeyFile,
  readRepository,
  signDraft,
  type Chunks,
} from '../../node/services/update/tuf/index.ts'
import { SIGNED_AT } from '../../node/services/update/tuf/metadata.ts'
import {
  DAY,
  indexOf,
  inTime,
  key,
  random,
  refused,
  resign,
  started,
  START_MS,
} from '../helpers/tuf.ts'

const NONE: Chunks = {
  has: () => false,
  get: () => Promise.resolve(undefined),
  put: () => Promise.resolve(),
}

async function home() {
  const dir = await mkdtemp(join(tmpdir(), 'kith-edges-'))
  const folder = join(dir, 'channel')
  const keysFolder = join(dir, 'stick')
  const onlineFolder = join(dir, 'online')
  const options = { folder, channel: 'home', keysFolder, onlineFolder, random, nowMs: START_MS }
  const { root } = await initChannel(options)
  const files = await listKeyFiles(keysFolder)
  const keys = await Promise.all(
    files.map(({ path }) => readKeyFile(path, () => Promise.resolve(undefined))),
  )
  const online = await openOnlineKeys(onlineFolder, root)
  const end = { [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
  return { folder, root, online, keys, ...end }
}

it('refuses a newer timestamp that has expired already', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.putTimestamp({ days: 1 })
  device.time.nowMs += 2 * DAY
  await refused(device.refresh(channel), 'TUF_EXPIRED', 'timestamp')
})

it('judges by the floor of the device where its clock says less', async () => {
  const { channel, device } = await started()
  await using _ = device
  Object.assign(device.time, { quality: 'unsynced', floorMs: channel.nowMs + 31 * DAY })
  await refused(device.client.refresh(channel.fetch, inTime()), 'TUF_EXPIRED', 'timestamp')
})

it('counts no signed time beyond the life of its own file', async () => {
  const { channel, device } = await started()
  await using _ = device
  channel.putTimestamp()
  const far = { [SIGNED_AT]: '2090-01-01T00:00:00Z' }
  const bytes = channel.get('timestamp.json')
  const evil = resign('timestamp', bytes, (s) => Object.assign(s, far), [channel.timestamp])
  channel.files.set('timestamp.json', evil)
  assert.equal((await device.refresh(channel)).signedMs, START_MS + 30 * DAY)
})

it('remembers no target that is no release', async () => {
  const { channel, device } = await started()
  await using _ = device
  const list = nextTargets(channel.newest('targets'), { nowMs: channel.nowMs })
  const add = (signed: Record<string, unknown>): void => {
    const junk = { length: 1, hashes: {} }
    signed['targets'] = { ...(signed['targets'] as object), 'other/file.bin': junk }
  }
  channel.put(resign('targets', list, add, channel.targets))
  assert.equal((await device.refresh(channel)).witnessed.length, 1)
})

it('signs a draft only with keys of its role', () => {
  const draft = nextTargets(undefined, { nowMs: START_MS })
  assert.throws(() => signDraft(draft, [key('root')]), { code: 'TUF_WRONG_KEY' })
})

it('takes no new root without its own keys, nor one that does not name the keys of the device', async () => {
  await using made = await home()
  const { folder, root, online, keys } = made
  const old = keys.filter(({ role }) => role === 'root')
  const fresh = newUpdateKey('home', 'root', random)
  const accept = (draft: Uint8Array) => acceptRoot({ folder, draft, online, nowMs: START_MS })
  const change = { add: [fresh], remove: old.map(({ id }) => id), nowMs: START_MS }
  await refused(accept(signDraft(nextRoot(root, change), old, root)), 'TUF_NOT_SIGNED')
  const other = newUpdateKey('home', 'timestamp', random)
  const moved = { add: [other], remove: [online.timestamp.id], nowMs: START_MS }
  await refused(accept(signDraft(nextRoot(root, moved), old, root)), 'TUF_WRONG_KEY')
  assert.equal((await readRepository(folder)).roots.length, 1)
})

it('takes no list whose indexes it does not have', async () => {
  await using made = await home()
  const { folder, root, online, keys } = made
  const { targets } = await readRepository(folder)
  const draft = signDraft(
    nextTargets(targets, { add: [indexOf('1.0.0', 1)], nowMs: START_MS }),
    keys.filter(({ role }) => role === 'targets'),
    root,
  )
  const change = { folder, draft, online, nowMs: START_MS }
  await refused(acceptTargets({ ...change, indexes: [] }), 'TUF_CHANNEL')
  await acceptTargets({ ...change, indexes: [indexOf('1.0.0', 1)] })
})

it('writes over no other channel, and reads none', async () => {
  const { channel, device } = await started()
  await using _ = device
  const folder = join(device.folder, 'usb')
  await mkdir(folder)
  for (const mark of [
    { channel: 'home', pin: '00'.repeat(32) },
    { channel: 'vendor', pin: device.client.view()?.pin },
  ]) {
    await writeFile(
      join(folder, 'channel.json'),
      JSON.stringify({ kind: 'kith-channel', v: 1, ...mark }),
    )
    const options = { folder, client: device.client, chunks: NONE }
    await refused(exportChannel(options, inTime()), 'TUF_FOLDER')
    if (mark.channel === 'vendor') await refused(importChannel(options, inTime()), 'TUF_FOLDER')
  }
  void channel
})
