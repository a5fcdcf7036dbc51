import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import type { NodeView } from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'
import { addByQr, eventOf, folders, loopbackOf, makeHome, startDevice } from '../helpers/device.ts'
import { kith } from '../helpers/kith-process.ts'

const forever = new AbortController().signal
const DATABASE = 'kith.db'

async function refusal(act: Promise<unknown>): Promise<NodeError> {
  const error: unknown = await act.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof NodeError, `not refused as it should be: ${String(error)}`)
  return error
}

async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const row of rows) list.push(row)
  return list
}

describe('a device in its folder', () => {
  it('starts and stops, twice without harm, and is the same one at the next start', async () => {
    await using made = folders()
    const dir = await made.make()
    const ids = new Set<string>()
    for (let run = 0; run < 3; run++) {
      const device = await startDevice(dir)
      const { device: self, home, role, addrs } = await device.view.status()
      ids.add(self.id)
      assert.deepEqual([home, role, addrs], [null, null, []])
      await device.stop()
      await device.stop()
    }
    assert.equal(ids.size, 1)
    assert.equal(existsSync(join(dir, 'kith.pid')), false)
  })

  it('refuses a second process on the same folder, and the first goes on', async () => {
    await using made = folders()
    const dir = await made.make()
    await using first = await startDevice(dir)
    const { code, stderr } = await kith(['up'], { dir, env: { KITH_MESH_MULTICAST: 'false' } })
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`already running on ${dir}: process ${process.pid}`))
    assert.equal((await first.view.status()).home, null)
  })

  it('refuses a damaged database with the way out, changes no byte, and frees the folder', async () => {
    await using made = folders()
    const dir = await made.make()
    const device = await startDevice(dir)
    await makeHome(device)
    await device.stop()
    const whole = await readFile(join(dir, DATABASE))
    const damages: readonly [string, (bytes: Buffer) => void][] = [
      ['header', (bytes) => bytes.fill(0x5a, 0, 100)],
      ['pages', (bytes) => bytes.fill(0x5a, 4096, 4096 * 6)],
      [
        'an op',
        (bytes) => bytes.fill('Oak Roof', bytes.indexOf('Oak Road'), bytes.indexOf('Oak Road') + 8),
      ],
    ]
    for (const [what, damage] of damages) {
      const damaged = Buffer.from(whole)
      damage(damaged)
      await writeFile(join(dir, DATABASE), damaged)
      const error = await refusal(startDevice(dir))
      assert.deepEqual([what, error.code], [what, 'NODE_DATABASE'])
      assert.match(error.hint ?? '', /Nothing was changed.*backup/)
      assert.deepEqual(await readFile(join(dir, DATABASE)), damaged, what)
    }
    await writeFile(join(dir, DATABASE), whole)
    await using again = await startDevice(dir)
    assert.equal((await again.view.status()).home?.name, 'Oak Road')
  })

  it('refuses a database without its key, and a key without its database', async () => {
    await using made = folders()
    const dir = await made.make()
    await (await startDevice(dir)).stop()
    for (const [file, code] of [
      ['identity.key', 'NODE_KEY_FILE'],
      [DATABASE, 'NODE_DATABASE'],
    ] as const) {
      const bytes = await readFile(join(dir, file))
      await rm(join(dir, file))
      assert.equal((await refusal(startDevice(dir))).code, code)
      assert.equal(existsSync(join(dir, file)), false)
      await writeFile(join(dir, file), bytes, { mode: 0o600 })
    }
    await using _ = await startDevice(dir)
  })

  it('forgets all in a reset, the key first, and starts as another device', async () => {
    await using made = folders()
    const dir = await made.make()
    const device = await startDevice(dir)
    await makeHome(device)
    const { id } = (await device.view.status()).device
    await device.view.reset()
    await device.reset
    await device.stop()
    assert.deepEqual(
      [existsSync(join(dir, 'identity.key')), existsSync(join(dir, DATABASE))],
      [false, false],
    )
    const fresh = await startDevice(dir)
    const { device: self, home } = await fresh.view.status()
    assert.notEqual(self.id, id)
    assert.equal(home, null)
    // A reset that breaks off at the database has lost the key already.
    await rename(join(dir, DATABASE), join(dir, 'aside'))
    await mkdir(join(dir, DATABASE))
    await assert.rejects(fresh.view.reset())
    assert.equal(existsSync(join(dir, 'identity.key')), false)
    await fresh.stop()
  })
})

describe('a device without a home', () => {
  const ON = { ref: 'kitchen', name: 'on' }
  const none = ['NODE_NO_HOME']
  const asked: readonly [
    keyof NodeView,
    (view: NodeView) => Promise<unknown>,
    readonly string[],
  ][] = [
    ['recover', (view) => view.recover({ kit: 'x' }), none],
    [
      'addDevice',
      (view) => view.addDevice({ code: '12-3456-7890-1', role: 'member' }, forever),
      none,
    ],
    ['device', (view) => view.device('kitchen'), none],
    ['rename', (view) => view.rename('kitchen', 'x'), none],
    ['grant', (view) => view.grant('kitchen', 'member'), none],
    ['gatewayPolicy', (view) => view.gatewayPolicy('kitchen'), none],
    ['signGatewayPolicy', (view) => view.signGatewayPolicy('kitchen', []), none],
    ['removal', (view) => view.removal('kitchen'), none],
    ['remove', (view) => view.remove('kitchen', {}), none],
    ['sensors', (view) => view.sensors(), none],
    ['setSensor', (view) => view.setSensor('load', true), none],
    ['watch', (view) => all(view.watch({}, forever)), none],
    ['history', (view) => all(view.history({ device: 'kitchen' }, forever)), none],
    ['unplaced', (view) => all(view.unplaced({ device: 'kitchen' }, forever)), none],
    ['push', (view) => view.push([{ sensor: 'door', value: 1 }]), none],
    ['trust', (view) => view.trust('kitchen'), none],
    ['incidents', (view) => view.incidents({}), none],
    ['exportLogs', (view) => all(view.exportLogs({ devices: [] }, forever)), none],
    ['description', (view) => view.description('kitchen', {}, forever), none],
    ['readProperty', (view) => view.readProperty('kitchen', 'on', {}, forever), none],
    ['writeProperty', (view) => view.writeProperty(ON, true, {}, forever), none],
    ['invokeAction', (view) => view.invokeAction(ON, undefined, {}, forever), none],
    ['observe', (view) => all(view.observe('kitchen', 'on', forever)), none],
    ['calls', (view) => view.calls(), none],
    ['callById', (view) => view.callById('ab', {}, forever), none],
    ['cancelCall', (view) => view.cancelCall('ab', forever), none],
    ['why', (view) => view.why('kitchen', {}, forever), none],
    ['updates', (view) => view.updates(), none],
    ['trustChannel', (view) => view.trustChannel({ name: 'home', root: 'AA==' }), none],
    ['distrustChannel', (view) => view.distrustChannel('home'), none],
    [
      'acceptSigned',
      (view) => view.acceptSigned('home', { role: 'targets', file: 'AA==', indexes: [] }),
      none,
    ],
    ['changeRollout', (view) => view.changeRollout({ pause: '*' }), none],
    ['rollbackUpdate', (view) => view.rollbackUpdate('app'), none],
    ['forgiveUpdate', (view) => view.forgiveUpdate('app', 1), none],
    ['fetchRelease', (view) => all(view.fetchRelease('app', {}, forever)), none],
    ['exportChannel', (view) => view.exportChannel('home', '/nowhere'), none],
    ['importChannel', (view) => view.importChannel('home', '/nowhere'), none],
  ]
  it('says so where it needs one, and answers all else', async () => {
    await using made = folders()
    await using device = await startDevice(await made.make())
    const { view } = device
    for (const [name, ask, codes] of asked) {
      const { code, hint } = await refusal(ask(view))
      assert.deepEqual([name, code], [name, codes[0]])
      assert.match(hint ?? '', /kith home create/)
    }
    const rows = await view.devices()
    assert.deepEqual(
      rows.map(({ name, self, role }) => [name, self, role]),
      [['kitchen', true, null]],
    )
    assert.deepEqual(await view.pairingStatus(), { open: false, expiresAt: null, triesLeft: 0 })
    await view.closePairing()
    const checks = await view.doctor()
    assert.equal(checks.find(({ check }) => check === 'home')?.ok, false)
    assert.ok(
      (await view.config()).some(({ key, source }) => key === 'mesh.port' && source === 'flag'),
    )
    assert.ok((await all(view.backup(forever))).length >= 3)
    const answered = [
      'status',
      'devices',
      'pairingStatus',
      'closePairing',
      'openPairing',
      'doctor',
      'config',
      'power',
      'backup',
      'events',
      'reset',
      'createHome',
      'recoveryKit',
    ]
    assert.deepEqual(
      Object.keys(view).toSorted(),
      [...answered, ...asked.map(([name]) => name)].toSorted(),
    )
  })

  it('closes its pairing window when it makes a home, and opens none after', async () => {
    await using made = folders()
    await using device = await startDevice(await made.make())
    await device.view.openPairing({})
    await makeHome(device)
    assert.equal((await device.view.pairingStatus()).open, false)
    assert.equal((await refusal(device.view.openPairing({}))).code, 'NODE_CONFLICT')
    const { publicKey } = await device.view.recoveryKit()
    const second = device.view.createHome({ name: 'Another', recoveryKey: publicKey })
    assert.equal((await refusal(second)).code, 'NODE_CONFLICT')
  })

  it('makes one home of two that are asked for at once', async () => {
    await using made = folders()
    const dir = await made.make()
    const device = await startDevice(dir)
    const results = await Promise.allSettled([makeHome(device, 'One'), makeHome(device, 'Two')])
    assert.deepEqual(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
    const { home } = await device.view.status()
    await device.stop()
    await using again = await startDevice(dir)
    assert.deepEqual((await again.view.status()).home, home)
  })
})

describe('a restart', () => {
  it('keeps home, role, names and the choice of sensors', async () => {
    await using made = folders()
    const dir = await made.make()
    const first = await startDevice(dir)
    await makeHome(first)
    await first.view.rename('kitchen', 'Küche')
    const [sensor, other] = (await first.view.sensors()).map(({ name }) => name)
    assert.ok(sensor !== undefined && other !== undefined)
    assert.equal((await first.view.setSensor(sensor, true)).on, true)
    assert.equal((await refusal(first.view.setSensor('no-such', true))).code, 'NODE_NOT_FOUND')
    const before = await first.view.status()
    await first.stop()
    const second = await startDevice(dir)
    const { home, role, device } = await second.view.status()
    assert.deepEqual(
      [home, role, device],
      [before.home, 'owner', { ...before.device, name: 'Küche' }],
    )
    const on = (await second.view.sensors()).filter((one) => one.on).map(({ name }) => name)
    assert.deepEqual(on, [sensor])
    await second.view.setSensor(sensor, false)
    await second.stop()
    await using third = await startDevice(dir, { 'telemetry.sensors': '*' })
    const off = (await third.view.sensors()).filter((one) => !one.on).map(({ name }) => name)
    assert.deepEqual(off, [sensor])
  })

  it('keeps what was measured', async () => {
    await using made = folders()
    const dir = await made.make()
    const settings = { 'telemetry.sensors': 'load*', 'telemetry.interval': '1s' }
    const first = await startDevice(dir, settings)
    await makeHome(first)
    const seen: { seq: number; at: number }[] = []
    for await (const reading of first.view.watch({}, forever)) {
      assert.equal(reading.verified, true)
      seen.push(reading)
      break
    }
    await first.stop()
    await using second = await startDevice(dir)
    const rows = await all(second.view.history({ device: 'kitchen' }, forever))
    const kept = rows.flatMap((row) => ('gap' in row ? [] : [`${row.seq}/${row.at}`]))
    for (const { seq, at } of seen) assert.ok(kept.includes(`${seq}/${at}`))
  })
})

describe('two devices', () => {
  it('act by their roles, agree at once, and part when one is removed', async () => {
    await using made = folders()
    await using owner = await startDevice(await made.make(), { 'device.name': 'attic' })
    const kit = await makeHome(owner)
    const dir = await made.make()
    const fresh = await startDevice(dir, { 'device.name': 'cellar' })
    const { device: id } = await addByQr(owner, fresh, 'member')
    assert.equal((await fresh.view.status()).role, 'member')
    await fresh.stop()
    await using cellar = await startDevice(dir, {
      'device.name': 'cellar',
      'mesh.peers': await loopbackOf(owner),
    })
    await eventOf(owner, 'device.online')

    for (const act of [
      () => cellar.view.rename('attic', 'x'),
      () => cellar.view.grant('attic', 'guest'),
      () => cellar.view.remove('attic', {}),
      () => cellar.view.addDevice({ qr: 'kith:', role: 'member' }, forever),
    ]) {
      const { code, hint } = await refusal(act())
      assert.equal(code, 'NODE_DENIED')
      assert.match(hint ?? '', /owner/i)
    }
    assert.deepEqual(
      (await owner.view.devices()).map(({ name, role }) => `${name} ${role}`),
      ['attic owner', 'cellar member'],
    )

    for (let i = 1; i <= 9; i++) await owner.view.rename(id, `cellar ${i}`)
    await eventOf(cellar, 'member.renamed', ({ data }) => data['name'] === 'cellar 9')
    await owner.view.grant(id, 'owner')
    await eventOf(cellar, 'member.role')
    assert.equal((await cellar.view.status()).role, 'owner')

    const preview = await owner.view.removal('cellar')
    assert.deepEqual([preview.connected, preview.alsoRemoved, preview.lastSeq], [true, [], null])
    assert.equal((await owner.view.devices()).length, 2)
    const { cuts, op } = await owner.view.remove('cellar', { reason: 'lost' })
    assert.deepEqual([cuts.device.id, cuts.alsoRemoved, op.type, op.device], [id, [], 'revoke', id])
    const { data, id: removal } = await eventOf(cellar, 'member.removed')
    assert.equal(data['reason'], 'lost')
    const left = await eventOf(owner, 'device.offline')
    assert.equal(left.data['name'], 'cellar 9')
    assert.deepEqual(
      (await owner.view.devices()).map(({ state }) => state),
      ['online', 'removed'],
    )
    const { role, home } = await cellar.view.status()
    assert.deepEqual([role, home?.name], [null, 'Oak Road'])
    assert.equal(
      (await cellar.view.doctor()).every(({ ok }) => ok),
      false,
    )

    // Removed by mistake: with its role it comes back by itself.
    await owner.view.grant('cellar', 'sensor')
    await eventOf(owner, 'device.online', ({ id: number }) => number > left.id)
    assert.equal((await cellar.view.status()).role, 'sensor')
    await owner.view.remove('cellar', {})
    await eventOf(cellar, 'member.removed', ({ id: number }) => number > removal)

    assert.equal((await refusal(cellar.view.recover({ kit: kit.slice(0, -1) }))).code, 'NODE_USAGE')
    await cellar.view.recover({ kit })
    assert.equal((await cellar.view.status()).role, 'owner')
  })

  it('lose with one owner whom only that one let in, as the preview said', async () => {
    await using made = folders()
    await using owner = await startDevice(await made.make(), { 'device.name': 'attic' })
    await makeHome(owner)
    const dir = await made.make()
    const fresh = await startDevice(dir, { 'device.name': 'cellar' })
    await addByQr(owner, fresh, 'owner')
    await using porch = await startDevice(await made.make(), { 'device.name': 'porch' })
    await addByQr(fresh, porch, 'member')
    await fresh.stop()
    await using cellar = await startDevice(dir, { 'mesh.peers': await loopbackOf(owner) })
    await eventOf(owner, 'member.added', ({ data }) => data['name'] === 'porch')
    assert.equal((await refusal(cellar.view.remove('attic', {}))).code, 'NODE_DENIED')
    const { alsoRemoved } = await owner.view.removal('cellar')
    const before = await owner.view.devices()
    await owner.view.remove('cellar', {})
    const after = await owner.view.devices()
    const gone = before
      .filter(({ id }) => after.some((row) => row.id === id && row.state === 'removed'))
      .map(({ name }) => name)
    assert.deepEqual(gone.toSorted(), ['cellar', ...alsoRemoved].toSorted())
  })
})

describe('the recovery kit', () => {
  it('makes a member an owner, and is refused mistyped or from another home', async () => {
    await using made = folders()
    await using owner = await startDevice(await made.make())
    const kit = await makeHome(owner)
    await using other = await startDevice(await made.make())
    const foreign = await makeHome(other, 'Elm Road')
    await using fresh = await startDevice(await made.make(), { 'device.name': 'cellar' })
    await addByQr(owner, fresh, 'member')
    const wrong = await refusal(fresh.view.recover({ kit: foreign }))
    assert.deepEqual(
      [wrong.code, /not the one of this home/.test(wrong.message)],
      ['NODE_DENIED', true],
    )
    const [first, second, third = '', ...rest] = kit.split(' ')
    const letter = third.split('').find((one) => one !== third[0]) ?? ''
    const typed = [first, second, letter + third.slice(1), ...rest].join(' ')
    const mistyped = await refusal(fresh.view.recover({ kit: typed }))
    assert.deepEqual(
      [mistyped.code, /Look at group 3\./.test(mistyped.message)],
      ['NODE_USAGE', true],
    )
    assert.equal((await fresh.view.status()).role, 'member')
    await fresh.view.recover({ kit: kit.toUpperCase() })
    assert.equal((await fresh.view.status()).role, 'owner')
  })
})
