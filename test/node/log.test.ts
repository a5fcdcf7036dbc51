import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { format, inspect } from 'node:util'

import { createLogger, formatLine, Secret } from '../../node/log.ts'
import { printable } from '../../node/printable.ts'

function capture(
  options: { level?: string; format?: 'auto' | 'json' | 'text'; isTTY?: boolean } = {},
) {
  const lines: string[] = []
  const { level = 'info', format: shape = 'auto', isTTY = false } = options
  const log = createLogger({
    level,
    format: shape,
    out: { isTTY, write: (text: string) => lines.push(text) },
  })
  return { log, lines }
}

describe('Secret', () => {
  const value = 'hunter2'
  const secret = new Secret(value)

  it('cannot be printed in any usual way', () => {
    const { log, lines } = capture({ level: 'trace' })
    log.info(
      { secret, nested: { list: [secret] }, err: new Error('x', { cause: secret }) },
      'with %s',
      secret,
    )
    const shown = [
      String(secret),
      ''.concat(secret as unknown as string),
      JSON.stringify({ secret, list: [secret] }),
      inspect({ secret }, { showHidden: true, depth: 9 }),
      format('%s %o %j', secret, secret, secret),
      Object.entries(secret).join(),
      ...lines,
    ]
    for (const text of shown) assert.doesNotMatch(text, /hunter2/)
    assert.ok(shown.filter((text) => text.includes('[secret]')).length >= 5)
  })

  it('gives its value only to who asks for it', () => {
    assert.equal(inspect(secret), '[secret]')
    assert.equal(secret.reveal(), value)
  })
})

describe('the log', () => {
  it('is one line of JSON for each message off a terminal', () => {
    const { log, lines } = capture()
    log.child({ part: 'pairing' }).info({ peer: 'k', ms: 3 }, 'paired')
    log.debug('not shown')
    assert.equal(lines.length, 1)
    const { time, ...entry } = JSON.parse(lines[0] ?? '') as Record<string, unknown>
    assert.deepEqual(entry, { level: 'info', part: 'pairing', peer: 'k', ms: 3, msg: 'paired' })
    assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000)
  })

  it('is text on a terminal, unless JSON is asked for', () => {
    const text = capture({ isTTY: true })
    text.log.warn({ peer: 'a b' }, 'late')
    assert.match(text.lines.join(''), /^\d\d:\d\d:\d\d warn {2}late peer="a b"\n$/)
    const json = capture({ isTTY: true, format: 'json' })
    json.log.warn('late')
    assert.match(json.lines.join(''), /^\{.*\}\n$/)
  })

  it('shows what went wrong elsewhere in one line', () => {
    const { log, lines } = capture({ format: 'text' })
    log.warn({ err: new TypeError('reset') }, 'broke off')
    assert.match(lines.join(''), /warn {2}broke off\n {4}reset\n$/)
  })

  it('shows errors with their stack', () => {
    const { log, lines } = capture({ format: 'text' })
    log.error({ err: new TypeError('broken') }, 'failed')
    assert.match(lines.join(''), /error failed\n {4}TypeError: broken\n {4} +at /)
  })

  it('colours only where that is wanted', () => {
    const line = '{"level":"warn","time":"2027-01-15T08:00:00.000Z","msg":"m"}'
    assert.equal(formatLine(line, false), '08:00:00 warn  m')
    assert.equal(formatLine(line, true), '08:00:00 \u001B[33mwarn \u001B[0m m')
  })

  it('lets no name from another device forge a line or move the cursor', () => {
    const { log, lines } = capture({ format: 'text' })
    log.info({ name: 'a\n00:00:00 info  paired\u001B[2J\u202E' }, 'seen')
    assert.equal(lines.join('').split('\n').length, 2)
    assert.ok(!lines.join('').includes('\u001B'))
    assert.ok(!lines.join('').includes('\u202E'))
  })
})

describe('printable', () => {
  it('keeps every script and marks every control', () => {
    assert.equal(printable('Küche 台所 🏠'), 'Küche 台所 🏠')
    assert.equal(printable('a\tb\u0000\u009B\u2066'), 'a\\u{9}b\\u{0}\\u{9b}\\u{2066}')
  })
})
