import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'

import { kith } from '../helpers/kith-process.ts'

const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step()
})

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-cli-'))
  cleanup.push(() => rm(dir, { recursive: true, force: true }))
  return dir
}

describe('kith config', () => {
  it('sets, shows and validates without a device', async () => {
    const dir = await folder()
    const set = await kith(['config', 'set', 'telemetry.interval', '30s'], { dir })
    assert.equal(set.code, 0, set.stderr)
    assert.equal(
      await readFile(join(dir, 'config.toml'), 'utf8'),
      '[telemetry]\ninterval = "30s"\n',
    )
    const shown = await kith(['config', 'show', '--json'], { dir, env: { KITH_MESH_PORT: '0' } })
    const rows = JSON.parse(shown.stdout) as { key: string; value: unknown; source: string }[]
    const pick = (key: string) => rows.find((row) => row.key === key)
    assert.deepEqual(pick('telemetry.interval'), {
      key: 'telemetry.interval',
      value: 30_000,
      source: 'file',
    })
    assert.deepEqual(pick('mesh.port'), { key: 'mesh.port', value: 0, source: 'environment' })
    assert.equal((await kith(['config', 'validate'], { dir })).code, 0)
  })

  it('names file, line and nearest setting of a mistake', async () => {
    const dir = await folder()
    await writeFile(join(dir, 'config.toml'), '# mine\n[mesh]\nprot = 1\n')
    const { code, stderr } = await kith(['config', 'validate'], { dir })
    assert.equal(code, 2)
    assert.match(
      stderr,
      /config\.toml:3: mesh\.prot: there is no such setting; did you mean mesh\.port\?/,
    )
  })

  it('prints the schema as JSON and as a table for documents', async () => {
    const [json, markdown] = await Promise.all([
      kith(['config', 'schema', '--json']),
      kith(['config', 'schema', '--markdown']),
    ])
    type Rows = readonly { readonly key: string }[]
    const { settings, tables } = JSON.parse(json.stdout) as { settings: Rows; tables: Rows }
    assert.ok(settings.length > 10)
    assert.ok(tables.length > 60)
    for (const { key } of [...settings, ...tables]) {
      assert.ok(markdown.stdout.includes(`| \`${key}\` |`), key)
    }
  })
})
