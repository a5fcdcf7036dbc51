/**
 * Holds every protocols/<folder>/SPEC.md against the code beside it: the protocol id, the table of
 * limits, the table of errors and the tables of message fields. A folder counts from the moment that
 * it has an index.ts.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'

import { fieldRows, fieldsIn, numberIn, tablesOf, tableUnder } from './spec-tables.ts'
import { ROOT } from './tree.ts'

/** Folders that speak no protocol of their own. */
const WITHOUT_ID = new Set(['wire', 'identity', 'discovery'])

type Limits = Readonly<Record<string, unknown>>
type Errors = Readonly<Record<string, unknown>>

const folders = globSync('protocols/*/index.ts', { cwd: ROOT })
  .map((file) => path.basename(path.dirname(file)))
  .toSorted()

function read(folder: string, file: string): string {
  return readFileSync(path.join(ROOT, 'protocols', folder, file), 'utf8')
}

async function exportsOf(folder: string): Promise<Readonly<Record<string, unknown>>> {
  const url = pathToFileURL(path.join(ROOT, 'protocols', folder, 'index.ts'))
  return (await import(url.href)) as Readonly<Record<string, unknown>>
}

/** Differences between a SPEC and a Protocol object, one line each. */
function limitFaults(spec: string, protocol: Limits): string[] {
  const { id, ...limits } = protocol
  const named = typeof id !== 'string' || spec.includes(`\`${id}\``)
  const faults = named ? [] : [`id ${id} is not in the SPEC`]
  const table = tableUnder(spec, 'Limits')
  if (table === undefined) return [...faults, 'no table of limits']
  const written = new Map(table.rows.map(([name = '', value = '']) => [name, numberIn(value)]))
  for (const [name, value] of Object.entries(limits)) {
    if (written.get(name) !== value)
      faults.push(`${name}: ${String(value)}, SPEC ${String(written.get(name))}`)
  }
  for (const name of written.keys()) if (!(name in limits)) faults.push(`${name}: only in the SPEC`)
  return faults
}

/** The number that crosses the wire for an error; empty where none does. */
function statusOf(entry: unknown): string {
  const real = entry as { readonly status?: number }
  return real.status === undefined ? '' : `${real.status}`
}

/** Differences between a SPEC's table of errors and the code's. Statuses where there are any. */
function errorFaults(spec: string, errors: Errors): string[] {
  const table = tableUnder(spec, 'Errors')
  if (table === undefined) return ['no table of errors']
  const column = table.header.indexOf('code')
  const status = table.header.indexOf('status')
  const written = new Map(table.rows.map((row) => [row[column] ?? '', row[status] ?? '']))
  const faults: string[] = []
  for (const [code, entry] of Object.entries(errors)) {
    const said = written.get(code)
    if (said === undefined) faults.push(`${code}: not in the SPEC`)
    else if (said !== statusOf(entry)) {
      faults.push(`${code}: status ${statusOf(entry)}, SPEC ${said}`)
    }
  }
  for (const code of written.keys()) if (!(code in errors)) faults.push(`${code}: only in the SPEC`)
  return faults
}

/** Fields of the code that no table of the SPEC has, and the other way round. */
function fieldFaults(spec: string, sources: string): string[] {
  const show = ({ key, name }: { key: number; name: string }): string => `${key} ${name}`
  const written = new Set(fieldRows(spec).map(show))
  const real = new Set(fieldsIn(sources).map(show))
  return [
    ...[...real].filter((row) => !written.has(row)).map((row) => `${row}: not in the SPEC`),
    ...[...written].filter((row) => !real.has(row)).map((row) => `${row}: only in the SPEC`),
  ]
}

describe('the SPECs', () => {
  it('are there', (t) => {
    t.diagnostic(`${folders.length} folders: ${folders.join(', ')}`)
    assert.ok(folders.length >= 2, 'no protocol folder found')
  })

  for (const folder of folders) {
    const name = folder.toUpperCase().replaceAll('-', '_')

    it(`${folder} has a SPEC and vectors`, () => {
      const vectors = JSON.parse(read(folder, 'vectors.json')) as Record<string, unknown>
      for (const part of ['messages', 'invalid']) {
        const list = vectors[part]
        assert.ok(Array.isArray(list) && list.length > 0, `vectors.json: no ${part}`)
      }
      assert.ok(tablesOf(read(folder, 'SPEC.md')).length > 0, 'SPEC.md has no table')
    })

    it(`${folder} says the id and limits that it has`, async () => {
      const protocol = (await exportsOf(folder))[name]
      if (protocol === undefined && WITHOUT_ID.has(folder)) return
      assert.ok(protocol !== undefined, `index.ts exports no ${name}`)
      assert.ok('id' in (protocol as Limits) || WITHOUT_ID.has(folder), `${name} has no id`)
      assert.deepEqual(limitFaults(read(folder, 'SPEC.md'), protocol as Limits), [])
    })

    it(`${folder} says the errors that it has`, async () => {
      const errors = (await exportsOf(folder))[`${name}_ERRORS`]
      if (errors === undefined && folder === 'discovery') return
      assert.ok(errors !== undefined, `index.ts exports no ${name}_ERRORS`)
      assert.deepEqual(errorFaults(read(folder, 'SPEC.md'), errors as Errors), [])
    })

    it(`${folder} says the fields that its messages have`, () => {
      if (WITHOUT_ID.has(folder)) return
      const sources = globSync(`protocols/${folder}/*.ts`, { cwd: ROOT })
        .map((file) => readFileSync(path.join(ROOT, file), 'utf8'))
        .join('\n')
      assert.ok(fieldsIn(sources).length > 0, 'no field found')
      assert.deepEqual(fieldFaults(read(folder, 'SPEC.md'), sources), [])
    })
  }
})

describe('the check of the SPECs', () => {
  const spec = [
    'Protocol `/kith/thing/1.0.0`.',
    '## 4. Messages',
    '| key | name | type | size | meaning |',
    '|---|---|---|---|---|',
    '| 1 | `nonce` | bytes | 16 | fresh |',
    '## 5. Limits',
    '| name | value |',
    '|---|---|',
    '| `maxFrameBytes` | 65,536 |',
    '## 6. Errors',
    '| status | code | when |',
    '|---|---|---|',
    '| 1 | `THING_REFUSED` | asked twice |',
  ].join('\n')
  const protocol = { id: '/kith/thing/1.0.0', maxFrameBytes: 65_536 }
  const errors = { THING_REFUSED: { status: 1, message: 'refused' } }
  const source = 'const M = message("M", { nonce: field(1, bytes({ length: 16 })) })'

  it('passes what agrees', () => {
    assert.deepEqual(limitFaults(spec, protocol), [])
    assert.deepEqual(errorFaults(spec, errors), [])
    assert.deepEqual(fieldFaults(spec, source), [])
  })

  it('sees another id, another limit, and a limit on one side only', () => {
    assert.equal(limitFaults(spec, { ...protocol, id: '/kith/thing/2.0.0' }).length, 1)
    assert.equal(limitFaults(spec, { ...protocol, maxFrameBytes: 1 }).length, 1)
    assert.equal(limitFaults(spec, { ...protocol, maxFrames: 8 }).length, 1)
    assert.equal(limitFaults(spec, { id: protocol.id }).length, 1)
    assert.equal(limitFaults('`/kith/thing/1.0.0`', protocol).length, 1)
  })

  it('sees another status and an error on one side only', () => {
    assert.equal(errorFaults(spec, { THING_REFUSED: { status: 2 } }).length, 1)
    assert.equal(errorFaults(spec, {}).length, 1)
    assert.equal(errorFaults(spec, { ...errors, THING_LOST: { status: 3 } }).length, 1)
  })

  it('reads fields of a record from the row of its field', () => {
    const nested = spec.replace('| bytes |', '| list of {1: device (bytes, 32), 2: seq (uint)} |')
    const more = `${source}; record({ device: field(1, bytes({ length: 32 })), seq: field(2, uint()) })`
    assert.deepEqual(fieldFaults(nested, more), [])
    assert.equal(fieldFaults(nested, source).length, 2)
  })

  it('sees another key and a field on one side only', () => {
    assert.equal(fieldFaults(spec, source.replace('(1,', '(2,')).length, 2)
    assert.equal(fieldFaults(spec, '').length, 1)
    assert.equal(fieldFaults(spec, `${source}; { late: optional(9, bool) }`).length, 1)
  })
})
