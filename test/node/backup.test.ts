import assert from 'node:assert/strict'
import { existsSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { keyOfPeerId } from '../../protocols/identity/index.ts'
import type { HistoryRow, NodeView } from '../../node/api/view.ts'
import { backupStopped, restoreBackup } from '../../node/backup.ts'
import { loadConfig } from '../../node/config.ts'
import { resolvePaths } from '../../node/paths.ts'
import { encodeBackup, KINDS, readBackup, type Frame } from '../../node/storage/backup-format.ts'
import { addByQr, folders, makeHome, startDevice, type TestDevice } from '../helpers/device.ts'

const MEASURES = {
  'telemetry.sensors': '*',
  'telemetry.interval': '1s',
  'telemetry.max_wait': '0ms',
}
const SETTINGS = '# mine\n[log]\nlevel = "warn"\n'
const forever = new AbortController().signal
const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

async function allOf<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const row of rows) all.push(row)
  return all
}

async function saved(view: NodeView): Promise<string> {
  const file = join(await dirs.make(), 'b.kith')
  await writeFile(file, Buffer.concat(await allOf(view.backup(forever))))
  return file
}

async function freshDir(): Promise<string> {
  return join(await dirs.make(), 'device')
}

function restore(file: string, dir: string) {
  const paths = resolvePaths({ env: {}, homeDir: dir, uid: 1000, dataDir: dir })
  return restoreBackup(file, { paths }, forever)
}

interface Past {
  readonly readings: readonly HistoryRow[]
  readonly spans: readonly HistoryRow[]
}

async function pastOf({ view }: TestDevice, device: string, until: number): Promise<Past> {
  const asked = { device, until }
  const spans = await allOf(view.history({ ...asked, everyMs: 300_000 }, forever))
  return {
    readings: await allOf(view.history(asked, forever)),
    spans: spans.toSorted((a, b) => sensorOf(a).localeCompare(sensorOf(b))),
  }
}

/** Sensors stand in the order of their rows. */
function sensorOf(row: HistoryRow): string {
  return 'sensor' in row ? row.sensor : ''
}

async function measured({ view }: TestDevice, packs: number): Promise<void> {
  for await (const { seq } of view.watch({}, forever)) if (seq >= packs) return
}

describe('a backup', () => {
  let file = ''
  let past: Past = { readings: [], spans: [] }
  let kit = ''
  let old = { id: '', fingerprint: '' }
  let until = 0
  let seed = new Uint8Array()

  before(async () => {
    const dir = await dirs.make()
    await writeFile(join(dir, 'config.toml'), SETTINGS)
    await using device = await startDevice(dir, MEASURES)
    kit = await makeHome(device)
    await measured(device, 3)
    await device.view.setSensor('uptime', false)
    await mkdir(join(dir, 'update', 'home'), { recursive: true })
    old = (await device.view.status()).device
    file = await saved(device.view)
    until = Date.now() - 1
    seed = (await readFile(join(dir, 'identity.key'))).subarray(8, 40)
    // What came later is not in it.
    await measured(device, 5)
    const frames = await framesOf(file)
    const packs = frames.filter(({ kind }) => kind === KINDS.pack).length
    past = await pastOf(device, old.id, until)
    past = { ...past, readings: past.readings.filter((row) => 'seq' in row && row.seq <= packs) }
    assert.ok(past.readings.length >= 3 && packs >= 3)
  })

  it('makes a new device with another key, that has the past, the settings and the choices', async () => {
    const dir = await freshDir()
    const restored = await restore(file, dir)
    assert.notEqual(restored.device, old.id)
    assert.deepEqual(restored.from, { device: old.id, name: 'kitchen' })
    assert.equal(await readFile(join(dir, 'config.toml'), 'utf8'), SETTINGS)
    assert.equal((await stat(dir)).mode & 0o777, 0o700)
    assert.equal((await stat(join(dir, 'kith.db'))).mode & 0o777, 0o600)
    await using device = await startDevice(dir)
    const { home, role, device: self } = await device.view.status()
    assert.deepEqual([home?.name, role, self.id], ['Oak Road', null, restored.device])
    const now = await pastOf(device, old.id, until)
    assert.deepEqual(
      now.readings.filter((row) => 'seq' in row),
      past.readings,
    )
    assert.ok(now.spans.length > 0)
    const found = (await device.view.doctor()).find(({ check }) => check === 'home')
    assert.match(found?.cause ?? '', /was restored/)
    const uptime = (await device.view.sensors()).find(({ name }) => name === 'uptime')
    assert.equal(uptime?.on, false)
  })

  it('holds no key', async () => {
    assert.equal((await readFile(file)).includes(Buffer.from(seed)), false)
    assert.equal((await readFile(file)).includes(Buffer.from(seed).toString('hex')), false)
  })

  it('of the only owner’s device gives the home back with the kit', async () => {
    const dir = await freshDir()
    await restore(file, dir)
    await using device = await startDevice(dir)
    await device.view.recover({ kit })
    assert.equal((await device.view.status()).role, 'owner')
    await assert.rejects(device.view.openPairing({}), { code: 'NODE_CONFLICT' })
  })

  it('is never restored over anything', async () => {
    const dir = await freshDir()
    await mkdir(dir)
    await writeFile(join(dir, 'notes'), 'mine')
    await assert.rejects(restore(file, dir), { code: 'NODE_CONFLICT' })
    assert.equal(await readFile(join(dir, 'notes'), 'utf8'), 'mine')
    await rm(join(dir, 'notes'))
    await restore(file, dir)
    await assert.rejects(restore(file, dir), { code: 'NODE_CONFLICT' })
  })

  it('leaves settings that are there already, and puts its own beside them', async () => {
    const dir = await freshDir()
    const configFile = join(dirname(dir), 'kith.toml')
    await writeFile(configFile, '[log]\nlevel = "debug"\n')
    const paths = { ...resolvePaths({ env: {}, homeDir: dir, uid: 1, dataDir: dir }), configFile }
    const { settings } = await restoreBackup(file, { paths }, forever)
    assert.equal(settings, `${configFile}.restored`)
    assert.match(await readFile(configFile, 'utf8'), /debug/)
    assert.equal(await readFile(`${configFile}.restored`, 'utf8'), SETTINGS)
    assert.equal(existsSync(join(dir, 'config.toml')), false)
  })

  it('removes what an interrupted restore left', async () => {
    const dir = await freshDir()
    await mkdir(`${dir}.restoring`, { mode: 0o700 })
    await writeFile(join(`${dir}.restoring`, 'identity.key'), 'half')
    await restore(file, dir)
    assert.equal(existsSync(`${dir}.restoring`), false)
    await using device = await startDevice(dir)
    assert.equal((await device.view.status()).home?.name, 'Oak Road')
  })

  it('that is changed while it is read comes to nothing', async () => {
    const dir = await freshDir()
    const changing = join(dirname(dir), 'changing')
    const frames = await framesOf(file)
    await writeFile(changing, await readFile(file))
    const other = Buffer.concat(
      await allOf(encodeBackup(frames.filter(({ kind }) => kind !== KINDS.settings))),
    )
    const paths = resolvePaths({ env: {}, homeDir: dir, uid: 1000, dataDir: dir })
    let read = 0
    const onProgress = (): void => {
      // In the file that is open, after all of it was checked.
      if (++read === 1) truncateSync(changing, 0)
      if (read === 1) writeFileSync(changing, other)
    }
    const restoring = restoreBackup(changing, { paths, onProgress }, forever)
    await assert.rejects(restoring, { code: 'NODE_USAGE' })
    assert.equal(existsSync(dir), false)
    assert.equal(existsSync(`${dir}.restoring`), false)
  })

  it('that was cut anywhere, or changed anywhere, writes nothing', async () => {
    const bytes = await readFile(file)
    const broken = join(dirname(file), 'broken')
    const step = Math.ceil(bytes.length / 40)
    for (let at = 0; at < bytes.length; at += step) {
      await writeFile(broken, bytes.subarray(0, at))
      await refused(broken)
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 0x41
      await writeFile(broken, changed)
      await refused(broken)
    }
    await writeFile(broken, Buffer.concat([bytes, Buffer.from([0])]))
    await refused(broken)
  })

  it('whose lengths are beyond all bounds costs no memory', async () => {
    const broken = join(dirname(file), 'long')
    for (const kind of [...Object.values(KINDS), 200]) {
      await writeFile(broken, Buffer.from([...Buffer.from('KITHBAK1'), kind, 255, 255, 255, 255]))
      await refused(broken)
    }
  })

  it('whose hash is right, but not what is in it, writes nothing', async () => {
    const frames = await framesOf(file)
    const at = (kind: number): number => frames.findIndex((frame) => frame.kind === kind)
    const pack = frames[at(KINDS.pack)]
    const op = frames[at(KINDS.op)]
    const log = JSON.parse(Buffer.from(frames[at(KINDS.log)]?.content ?? []).toString()) as object
    assert.ok(pack !== undefined && op !== undefined)
    const head = JSON.parse(Buffer.from(frames[0]?.content ?? []).toString()) as object
    const packs = frames.filter(({ kind }) => kind === KINDS.pack).length
    const trust = (name: string): Frame => ({
      kind: KINDS.trust,
      content: new Uint8Array(Buffer.from(`${String.fromCodePoint(name.length)}${name}KITHTUF1`)),
    })
    const forms: Record<string, Frame[]> = {
      empty: [],
      'no head': frames.slice(1),
      'two heads': [...frames.slice(0, 1), ...frames],
      'a pack changed': frames.with(at(KINDS.pack), flip(pack, 60)),
      'a pack left out': frames.toSpliced(at(KINDS.pack), 1),
      'a pack twice': frames.toSpliced(at(KINDS.pack), 0, pack),
      'a pack twice, and counted': [
        { kind: KINDS.head, content: Buffer.from(JSON.stringify({ ...head, packs: packs + 1 })) },
        ...frames.slice(1, at(KINDS.pack)),
        pack,
        ...frames.slice(at(KINDS.pack)),
      ],
      'a pack of no log': frames.with(at(KINDS.pack), flip(pack, 3)),
      'an act changed': frames.with(at(KINDS.op), flip(op, op.content.length - 1)),
      'no acts': frames.filter(({ kind }) => kind !== KINDS.op),
      'a log of another device': frames.with(at(KINDS.log), {
        kind: KINDS.log,
        content: Buffer.from(JSON.stringify({ ...log, device: '11'.repeat(32) })),
      }),
      'a log without numbers': frames.with(at(KINDS.log), {
        kind: KINDS.log,
        content: Buffer.from(JSON.stringify({ ...log, segments: [] })),
      }),
      'logs before acts': [...frames.slice(0, 1), ...frames.slice(1).toReversed()],
      'a path': [...frames.slice(0, 1), trust('../../x'), ...frames.slice(1)],
      'a whole path': [...frames.slice(0, 1), trust('/etc/x'), ...frames.slice(1)],
      'a channel damaged': [...frames.slice(0, 1), trust('home'), ...frames.slice(1)],
      'a strange table': [
        ...frames,
        { kind: KINDS.rows, content: Buffer.from('{"table":"sqlite_master","rows":[]}') },
      ],
      'a row of no log': [
        ...frames,
        { kind: KINDS.rows, content: Buffer.from('{"table":"logFloors","rows":[[9,5,0]]}') },
      ],
    }
    for (const [name, form] of Object.entries(forms)) {
      const broken = join(dirname(file), 'form')
      await writeFile(broken, Buffer.concat(await allOf(encodeBackup(form))))
      await refused(broken, name)
    }
  })
})

async function framesOf(file: string): Promise<Frame[]> {
  const bytes = await readFile(file)
  return allOf(
    readBackup(
      (async function* () {
        yield new Uint8Array(bytes)
      })(),
    ),
  )
}

function flip({ kind, content }: Frame, at: number): Frame {
  return { kind, content: content.with(at, (content[at] ?? 0) ^ 1) }
}

async function refused(file: string, what = ''): Promise<void> {
  const dir = await freshDir()
  await assert.rejects(restore(file, dir), { code: 'NODE_USAGE' }, what)
  assert.equal(existsSync(dir), false, what)
  assert.equal(existsSync(`${dir}.restoring`), false, what)
  await rename(file, join(dirname(file), `${basename(file)}.old`))
}

describe('a device that was restored', () => {
  it('has the summaries of what it had given up, and asks nobody for that again', async () => {
    const first = await startDevice(await dirs.make(), MEASURES)
    await makeHome(first)
    await measured(first, 4)
    const { packs } = first.node.base
    const limits = { fiveMinutesBeforeMs: -Infinity, hoursBeforeMs: -Infinity }
    while (packs.prune({ receivedBeforeMs: Infinity, maxBytes: Infinity, ...limits }) > 0);
    const { device: earlier } = await first.view.status()
    const file = await saved(first.view)
    await first.stop()
    const stopped = join(await dirs.make(), 's.kith')
    const config = await loadConfig({
      env: {},
      homeDir: first.dir,
      hostName: 'x',
      uid: 1,
      dataDir: first.dir,
    })
    await writeFile(stopped, Buffer.concat(await allOf(backupStopped(config, forever))))
    await using again = await startDevice(first.dir)
    const past = await pastOf(again, earlier.id, Date.now())
    for (const one of [stopped, file]) {
      const dir = await freshDir()
      await restore(one, dir)
      await using second = await startDevice(dir)
      const key = keyOfPeerId(earlier.id)
      assert.deepEqual(second.node.base.packs.gaps(key), [])
      const now = await pastOf(second, earlier.id, Date.now())
      assert.ok(past.spans.length > 0)
      if (one === stopped) assert.deepEqual(now, past)
      else assert.equal(now.spans.length, past.spans.length)
    }
  })

  it('is paired into its home again, and still has what all devices measured', async () => {
    await using attic = await startDevice(await dirs.make(), MEASURES)
    await makeHome(attic)
    const first = await startDevice(await dirs.make(), MEASURES)
    await addByQr(attic, first, 'member')
    const { device: earlier } = await first.view.status()
    await measured(first, 2)
    const file = await saved(first.view)
    const until = Date.now() - 1
    const past = (await pastOf(first, earlier.id, until)).readings
    await first.stop()
    const dir = await freshDir()
    await restore(file, dir)
    await using second = await startDevice(dir)
    assert.equal((await second.view.status()).role, null)
    await addByQr(attic, second, 'member')
    const status = await second.view.status()
    assert.deepEqual([status.role, status.home?.name], ['member', 'Oak Road'])
    assert.deepEqual((await pastOf(second, earlier.id, until)).readings, past)
    assert.ok(past.length > 0)
    assert.equal((await second.view.devices()).length, 3)
    await assert.rejects(second.view.openPairing({}), { code: 'NODE_CONFLICT' })
  })

  it('is not paired into another home', async () => {
    await using attic = await startDevice(await dirs.make())
    await makeHome(attic)
    const file = await saved(attic.view)
    await using other = await startDevice(await dirs.make())
    await makeHome(other, 'Elm Road')
    const dir = await freshDir()
    await restore(file, dir)
    await using device = await startDevice(dir)
    await assert.rejects(addByQr(other, device, 'member'))
    const { home, role } = await device.view.status()
    assert.deepEqual([home?.name, role], ['Oak Road', null])
  })
})
