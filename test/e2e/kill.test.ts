/**
 * Real device processes that are killed with SIGKILL at random moments under load, then started
 * again. What was acknowledged before must be there after, and nothing half-made. The moments come
 * from a seed that is printed; KITH_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { after, describe, it } from 'node:test'
import { setTimeout as moment } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { createClient, type ApiClient } from '../../node/api/client.ts'
import type { Reading } from '../../node/api/view.ts'
import { folders } from '../helpers/device.ts'
import { seededRandom } from '../helpers/random.ts'

const CLI = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))
const SEED = process.env['KITH_SEED'] ?? 'kill'
const forever = new AbortController().signal
const random = seededRandom(SEED)
const made = folders()
const running = new Set<ChildProcess>()
after(async () => {
  for (const child of running) child.kill('SIGKILL')
  await made[Symbol.asyncDispose]()
})

/** A whole number below `limit`. */
function below(limit: number): number {
  const [a = 0, b = 0, c = 0] = random.bytes(3)
  return Math.floor(((a * 65_536 + b * 256 + c) / 2 ** 24) * limit)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '::1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** One device over several lives of its process. */
interface Device {
  readonly name: string
  readonly dir: string
  readonly port: number
  env: Readonly<Record<string, string>>
}

interface Life {
  readonly client: ApiClient
  /** As `kill -9` does; resolves when the process is gone. */
  kill(): Promise<void>
}

async function device(name: string): Promise<Device> {
  return { name, dir: await made.make(), port: await freePort(), env: {} }
}

function launch({ name, dir, port, env }: Device): ChildProcess {
  const child = spawn(process.execPath, [CLI, 'up', '--data-dir', dir], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: dir,
      KITH_DEVICE_NAME: name,
      KITH_MESH_PORT: String(port),
      KITH_MESH_MULTICAST: 'false',
      KITH_API_DASHBOARD: 'false',
      KITH_TELEMETRY_SENSORS: '*',
      KITH_TELEMETRY_INTERVAL: '1s',
      KITH_TELEMETRY_MAX_WAIT: '0ms',
      ...env,
    },
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

async function start(of: Device): Promise<Life> {
  const child = launch(of)
  assert.ok(child.stderr)
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stderr })) {
    lines.push(line)
    if (line.includes('"ready"')) break
  }
  assert.match(lines.at(-1) ?? '', /"ready"/, `${of.name} did not start:\n${lines.join('\n')}`)
  child.stderr.resume()
  return {
    client: createClient(join(of.dir, 'kith.sock'), forever),
    kill: () => kill(child),
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function makeHome({ client }: Life): Promise<void> {
  const { publicKey } = await client.recoveryKit()
  await client.createHome({ name: 'Oak Road', recoveryKey: publicKey })
}

async function addByQr(owner: Life, fresh: Life): Promise<void> {
  const { qr } = await fresh.client.openPairing({})
  await owner.client.addDevice({ qr, role: 'member' }, forever)
}

function nameOf({ device: of, sensor, seq, at, value }: Reading): string {
  return [of, sensor, seq, at, value].join(' ')
}

/** Everything that `client` shows live, until its process is gone or `signal` aborts. */
async function watch(client: ApiClient, seen: Set<string>, signal: AbortSignal): Promise<void> {
  try {
    for await (const reading of client.watch({}, signal)) seen.add(nameOf(reading))
  } catch {
    // The process was killed.
  }
}

/** Renames a device again and again; the last number that was acknowledged. */
async function load(client: ApiClient, id: string, from: number): Promise<number> {
  let acknowledged = from
  try {
    for (;;) {
      await client.rename(id, `name ${acknowledged + 1}`)
      acknowledged++
      await moment(20)
    }
  } catch {
    return acknowledged
  }
}

async function historyOf({ client }: Life): Promise<Set<string>> {
  const kept = new Set<string>()
  for (const { id } of await client.devices()) {
    for await (const row of client.history({ device: id }, forever)) {
      if (!('gap' in row)) kept.add(nameOf(row))
    }
  }
  return kept
}

describe('devices that are killed', () => {
  it('under load have every reading and act that they had shown, and are who they were', async (t) => {
    t.diagnostic(`seed ${SEED}`)
    const [attic, cellar] = [await device('attic'), await device('cellar')]
    let owner = await start(attic)
    await makeHome(owner)
    let member = await start(cellar)
    await addByQr(owner, member)
    const { device: self } = await owner.client.status()
    const { device: other, home } = await member.client.status()
    cellar.env = { KITH_MESH_PEERS: `/ip6/::1/tcp/${attic.port}/p2p/${self.id}` }
    await member.kill()
    member = await start(cellar)
    let acts = 0
    let shown = 0
    for (let round = 0; round < 7; round++) {
      const seen = [new Set<string>(), new Set<string>()] as const
      const stop = new AbortController()
      const ends = [
        watch(owner.client, seen[0], stop.signal),
        watch(member.client, seen[1], stop.signal),
      ] as const
      const loaded = load(owner.client, self.id, acts)
      await moment(300 + below(1200))
      const victim = below(3)
      if (victim !== 1) {
        await owner.kill()
        acts = await loaded
        owner = await start(attic)
      }
      if (victim !== 0) {
        await member.kill()
        member = await start(cellar)
      }
      if (victim === 1) {
        await owner.kill()
        acts = await loaded
        owner = await start(attic)
      }
      stop.abort()
      await Promise.all(ends)
      const where = `round ${round}, seed ${SEED}`
      for (const [i, life] of [owner, member].entries()) {
        const kept = await historyOf(life)
        const lost = [...(seen[i] ?? [])].filter((reading) => !kept.has(reading))
        assert.deepEqual(lost, [], where)
        shown += seen[i]?.size ?? 0
        const status = await life.client.status()
        assert.deepEqual(status.home, home, where)
        assert.equal(status.device.id, [self.id, other.id][i], where)
      }
      const { device: named } = await owner.client.status()
      const number = Number(named.name.replace('name ', '')) || 0
      assert.ok(number === acts || number === acts + 1, `${where}: ${acts} acts, ${named.name}`)
      acts = number
    }
    t.diagnostic(`${shown} readings shown, ${acts} acts`)
    assert.ok(shown > 20 && acts > 20)
    await owner.kill()
    await member.kill()
  })

  it('in their first start begin anew or go on, as one device', async () => {
    const porch = await device('porch')
    for (let round = 0; round < 3; round++) {
      const child = launch(porch)
      await moment(250 + below(500))
      await kill(child)
    }
    const first = await start(porch)
    const { device: self } = await first.client.status()
    await first.kill()
    const second = await start(porch)
    assert.equal((await second.client.status()).device.id, self.id)
    await second.kill()
  })

  it('while they make a home have none or a whole one', async () => {
    for (let round = 0; round < 3; round++) {
      const porch = await device('porch')
      const life = await start(porch)
      const { device: self } = await life.client.status()
      const making = makeHome(life).catch(() => undefined)
      await moment(below(60))
      await life.kill()
      await making
      const again = await start(porch)
      if ((await again.client.status()).home === null) await makeHome(again)
      const { home, role, device: same } = await again.client.status()
      assert.deepEqual([home?.name, role, same.id], ['Oak Road', 'owner', self.id])
      assert.equal((await again.client.devices()).length, 1)
      await again.kill()
    }
  })

  it('while they are paired are in no home or wholly in it, and can be paired again', async () => {
    const attic = await device('attic')
    let owner = await start(attic)
    await makeHome(owner)
    const { home } = await owner.client.status()
    for (let round = 0; round < 3; round++) {
      const porch = await device(`porch ${round}`)
      let fresh = await start(porch)
      const { device: self } = await fresh.client.status()
      const adding = addByQr(owner, fresh).catch(() => undefined)
      await moment(below(200))
      if (round % 2 === 0) {
        await fresh.kill()
        await adding
        fresh = await start(porch)
      } else {
        await owner.kill()
        await adding
        owner = await start(attic)
      }
      const status = await fresh.client.status()
      assert.equal(status.device.id, self.id)
      assert.deepEqual(status.home, status.home === null ? null : home)
      if (status.home === null) await addByQr(owner, fresh)
      assert.deepEqual((await fresh.client.status()).role, 'member')
      const names = (await owner.client.devices()).map(({ id }) => id)
      assert.ok(names.includes(self.id), `round ${round}, seed ${SEED}`)
      assert.equal((await fresh.client.devices()).length, names.length)
      await fresh.kill()
    }
    await owner.kill()
  })
})
