import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import fc from 'fast-check'

import { settingsTable } from '../../node/config-docs.ts'
import { readConfigText, setInText } from '../../node/config-file.ts'
import { SETTING_KEYS, SETTINGS, type Setting, type SettingKey } from '../../node/config-schema.ts'
import {
  checkTextValue,
  checkValue,
  formatDuration,
  formatSize,
  formatValue,
  parseDuration,
  parseSize,
  type SettingValue,
} from '../../node/config-values.ts'
import { configRows, environmentName, loadConfig, type ConfigInputs } from '../../node/config.ts'
import { resolvePaths } from '../../node/paths.ts'

let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-config-'))
})
after(() => rm(dir, { recursive: true, force: true }))

async function load(toml: string, more: Partial<ConfigInputs> = {}) {
  const configFile = join(dir, 'config.toml')
  await writeFile(configFile, toml)
  return loadConfig({
    env: {},
    homeDir: '/home/u',
    hostName: 'pi.lan',
    uid: 1000,
    configFile,
    ...more,
  })
}

describe('values', () => {
  const durations: readonly [string, number | undefined][] = [
    ['10s', 10_000],
    ['250ms', 250],
    ['1.5h', 5_400_000],
    ['2 m', 120_000],
    ['1d', 86_400_000],
    ['10', undefined],
    ['s', undefined],
    ['-1s', undefined],
    ['1e3s', undefined],
    ['1w', undefined],
    ['1constructor', undefined],
  ]
  for (const [text, ms] of durations) {
    it(`reads the duration "${text}" as ${ms} ms`, () => assert.equal(parseDuration(text), ms))
  }

  const sizes: readonly [string, number | undefined][] = [
    ['1GiB', 2 ** 30],
    ['500MB', 500e6],
    ['4096B', 4096],
    ['1gb', undefined],
    ['999999999999TiB', undefined],
  ]
  for (const [text, bytes] of sizes) {
    it(`reads the size "${text}" as ${bytes} bytes`, () => assert.equal(parseSize(text), bytes))
  }

  it('reads back every duration and size that it writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (value) => {
        assert.equal(parseDuration(formatDuration(value)), value)
        assert.equal(parseSize(formatSize(value)), value)
      }),
    )
  })

  it('holds every number to its bounds, both included', () => {
    let seen = 0
    for (const key of SETTING_KEYS) {
      const setting: Setting = SETTINGS[key]
      if (!('min' in setting)) continue
      seen++
      const write = (value: number): unknown =>
        setting.type === 'duration'
          ? formatDuration(value)
          : setting.type === 'size'
            ? formatSize(value)
            : value
      assert.ok(checkValue(key, write(setting.min)).ok, key)
      assert.ok(checkValue(key, write(setting.max)).ok, key)
      if (setting.min > 0) assert.ok(!checkValue(key, write(setting.min - 1)).ok, key)
      assert.ok(!checkValue(key, write(setting.max + 1)).ok, key)
    }
    assert.ok(seen >= 5)
  })

  it('accepts every default as its own text, but for empty ones that mean something else', () => {
    for (const key of SETTING_KEYS) {
      const value: SettingValue = SETTINGS[key].default
      assert.deepEqual(checkTextValue(key, formatValue(key, value)), { ok: true, value })
    }
  })

  const wrong: readonly [SettingKey, unknown][] = [
    ['mesh.port', '4646'],
    ['mesh.port', 1.5],
    ['mesh.port', -1],
    ['mesh.multicast', 'yes'],
    ['mesh.interfaces', 'eth0'],
    ['mesh.interfaces', ['eth0', 3]],
    ['mesh.interfaces', ['']],
    ['mesh.interfaces', Array.from({ length: 33 }, () => 'eth0')],
    ['telemetry.interval', 10],
    ['log.level', 'loud'],
    ['device.name', 'a\nb'],
    ['device.name', 'x'.repeat(65)],
    ['device.name', { a: 1 }],
  ]
  for (const [key, raw] of wrong) {
    it(`refuses ${key} = ${JSON.stringify(raw).slice(0, 30)}`, () => {
      assert.ok(!checkValue(key, raw).ok)
    })
  }
})

describe('the settings file', () => {
  const mistakes: readonly [string, number | undefined, RegExp][] = [
    ['[mesh]\nport = 1\nprot = 2', 3, /did you mean mesh\.port\?/],
    ['# c\n\nmesh.multicats = true', 3, /did you mean mesh\.multicast\?/],
    ['[mehs]\nport = 1', 2, /did you mean mesh\.port\?/],
    ['port = 1', 1, /did you mean (mesh|api)\.port\?/],
    ['[log]\nlevel = "loud"', 2, /must be one of trace, debug/],
    ['[mesh]\nport = 70000', 2, /must be from 0 to 65535/],
    ['mesh = { port = "x" }', 1, /must be a whole number/],
    ['[mesh]\nport = \n', 2, /./],
    ['[mesh]\nport = 1\nport = 2\n', 3, /./],
    ['[quantum]\nflux = 1', 2, /kith config schema/],
  ]
  for (const [text, line, why] of mistakes) {
    it(`names line ${line} of ${JSON.stringify(text)}`, () => {
      const { problems } = readConfigText(text)
      assert.equal(problems.length, 1)
      assert.equal(problems[0]?.line, line)
      assert.match(problems[0]?.why ?? '', why)
    })
  }

  it('tells all mistakes at once', () => {
    const { problems } = readConfigText('[mesh]\nprot = 1\n[log]\nlevel = "loud"\n')
    assert.deepEqual(
      problems.map(({ key }) => key),
      ['mesh.prot', 'log.level'],
    )
  })

  it('never fails otherwise than by a problem, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string({ unit: fc.constantFrom('[', ']', '=', '.', '"', '\n', 'a', '#', '1') }),
        ),
        (text) => {
          readConfigText(text)
        },
      ),
    )
  })
})

describe('changing a setting', () => {
  const cases: readonly [string, string, SettingKey, SettingValue, string][] = [
    ['an empty file', '', 'mesh.port', 1, '[mesh]\nport = 1\n'],
    ['a new section', '# mine\n', 'log.level', 'warn', '# mine\n\n[log]\nlevel = "warn"\n'],
    [
      'an old section',
      '[mesh] # net\nport = 1\n',
      'mesh.multicast',
      false,
      '[mesh] # net\nmulticast = false\nport = 1\n',
    ],
    [
      'a value with a comment',
      '[mesh]\nport = 1 # why\n',
      'mesh.port',
      2,
      '[mesh]\nport = 2 # why\n',
    ],
    ['a dotted key', 'mesh.port = 1\n', 'mesh.port', 2, 'mesh.port = 2\n'],
    [
      'a list',
      '',
      'telemetry.sensors',
      ['cpu*', 'mem"x'],
      '[telemetry]\nsensors = [ "cpu*", "mem\\"x" ]\n',
    ],
  ]
  for (const [what, before_, key, value, after_] of cases) {
    it(`keeps all else: ${what}`, () => assert.equal(setInText(before_, key, value), after_))
  }

  it('refuses where it could break what it does not understand', () => {
    for (const text of [
      'mesh = { port = 1, multicast = false }\n',
      '[telemetry]\nsensors = [\n  "a",\n]\n',
    ]) {
      const key = text.startsWith('mesh') ? 'mesh.port' : 'telemetry.sensors'
      assert.throws(() => setInText(text, key, key === 'mesh.port' ? 2 : ['b']), {
        code: 'NODE_CONFIG',
      })
    }
  })
})

describe('sources', () => {
  it('take each other’s place in order: flag, environment, file, default', async () => {
    const toml = '[mesh]\nport = 1\nmulticast = false\n[telemetry]\ninterval = "20s"\n'
    const env = { KITH_MESH_PORT: '2', KITH_TELEMETRY_INTERVAL: '30s', KITH_DATA_DIR: '/x' }
    const config = await load(toml, { env, flags: new Map([['mesh.port', '3']]) })
    assert.deepEqual([config.mesh.port, config.sources['mesh.port']], [3, 'flag'])
    assert.deepEqual(
      [config.telemetry.interval, config.sources['telemetry.interval']],
      [30_000, 'environment'],
    )
    assert.deepEqual([config.mesh.multicast, config.sources['mesh.multicast']], [false, 'file'])
    assert.deepEqual(
      [config.telemetry.max_bytes, config.sources['telemetry.max_bytes']],
      [2 ** 30, 'default'],
    )
    assert.deepEqual(
      configRows(config).map(({ key }) => key),
      SETTING_KEYS,
    )
  })

  it('name the device after its host where nothing else does', async () => {
    assert.equal((await load('')).device.name, 'pi')
    assert.equal((await load('', { hostName: '…' })).device.name, 'device')
    assert.equal((await load('[device]\nname = "Kitchen"')).device.name, 'Kitchen')
  })

  it('refuse a wrong value in the environment and a misspelt name', async () => {
    await assert.rejects(load('', { env: { KITH_MESH_PORT: 'x' } }), {
      code: 'NODE_CONFIG',
      message: /^KITH_MESH_PORT: must be/,
    })
    await assert.rejects(load('', { env: { KITH_MESH_PROT: '1' } }), {
      message: /did you mean KITH_MESH_PORT\?/,
    })
  })

  it('split lists from the environment at commas', async () => {
    const config = await load('', { env: { KITH_MESH_INTERFACES: 'eth0, wlan0,' } })
    assert.deepEqual(config.mesh.interfaces, ['eth0', 'wlan0'])
  })

  it('refuse a named file that is missing, binary or huge, and bear the usual one missing', async () => {
    await assert.rejects(load('', { configFile: join(dir, 'none.toml') }), { code: 'NODE_CONFIG' })
    await assert.rejects(load('#'.repeat(70_000)), { code: 'NODE_CONFIG' })
    await writeFile(join(dir, 'bin.toml'), Uint8Array.of(0xff, 0xfe))
    await assert.rejects(load('', { configFile: join(dir, 'bin.toml') }), { code: 'NODE_CONFIG' })
    const config = await load('', { configFile: undefined, dataDir: join(dir, 'nowhere') })
    assert.equal(config.mesh.port, 4646)
  })
})

describe('paths', () => {
  const user = { env: {}, homeDir: '/home/u', uid: 1000 }
  it('are the XDG folders of a user', () => {
    assert.deepEqual(resolvePaths({ ...user, env: { XDG_RUNTIME_DIR: '/run/user/1000' } }), {
      configFile: '/home/u/.config/kith/config.toml',
      dataDir: '/home/u/.local/state/kith',
      socket: '/run/user/1000/kith.sock',
      cacheDir: '/home/u/.cache/kith',
    })
  })
  it('ignore relative XDG folders, as the standard says', () => {
    assert.deepEqual(
      resolvePaths({ ...user, env: { XDG_STATE_HOME: 'x', XDG_CONFIG_HOME: '' } }),
      resolvePaths(user),
    )
  })
  it('are the system’s for root or where that is said', () => {
    const system = {
      configFile: '/etc/kith/config.toml',
      dataDir: '/var/lib/kith',
      socket: '/run/kith/kith.sock',
      cacheDir: '/var/cache/kith',
    }
    assert.deepEqual(resolvePaths({ ...user, uid: 0 }), system)
    assert.deepEqual(resolvePaths({ ...user, env: { KITH_SYSTEM: '1' } }), system)
  })
  it('are all under --data-dir, but for a settings file that is named', () => {
    assert.deepEqual(resolvePaths({ ...user, uid: 0, dataDir: '/d/x', configFile: '/c.toml' }), {
      configFile: '/c.toml',
      dataDir: '/d/x',
      socket: '/d/x/kith.sock',
      cacheDir: '/d/x/cache',
    })
  })
})

describe('the table for documents', () => {
  it('has one row for each setting', () => {
    const rows = settingsTable().trimEnd().split('\n').slice(2)
    assert.deepEqual(
      rows.map((row) => /^\| `([\w.]+)` \|/.exec(row)?.[1]),
      SETTING_KEYS,
    )
    assert.ok(new Set(SETTING_KEYS.map(environmentName)).size === SETTING_KEYS.length)
  })
})
