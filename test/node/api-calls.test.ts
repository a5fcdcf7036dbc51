import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { isBoundedJson } from '../../node/api/inputs-calls.ts'
import { ApiError } from '../../node/api/problem.ts'
import { API_PREFIX } from '../../node/api/routes.ts'
import type { Json } from '../../node/api/view.ts'
import { nearestNames } from '../../node/nearest.ts'
import { AT, callView, CHANGES, DESCRIPTION, HELD, POWER, WHY } from '../helpers/fake-calls.ts'
import { startFakeDevice } from '../helpers/fake-device.ts'

const { signal } = new AbortController()

/** One request with a body exactly as given. */
function raw(socketPath: string, method: string, path: string, body?: string) {
  return new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const sent = request(
      { socketPath, method, path: `${API_PREFIX}${path}`, headers, agent: false },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
      },
    )
    sent.once('error', reject)
    sent.end(body)
  })
}

describe('using devices over the local API', () => {
  it('asks the device what was asked, and answers what it said', async () => {
    await using device = await startFakeDevice()
    const { client, view } = device
    const { values, ...told } = DESCRIPTION
    assert.deepEqual(await client.description('lamp', {}, signal), told)
    assert.deepEqual(await client.description('lamp', { values: true }, signal), DESCRIPTION)
    assert.deepEqual(values?.length, 2)
    const read = await client.readProperty('lamp', 'on', { ttlMs: 5000 }, signal)
    assert.deepEqual([read.receipt?.result, read.expiresAt], [true, AT + 5000])
    const target = { ref: 'lamp', name: 'on' }
    const value = { deep: [null, 1.5, 'ü', { on: false }] }
    assert.deepEqual((await client.writeProperty(target, value, {}, signal)).args, value)
    assert.deepEqual((await client.writeProperty(target, null, {}, signal)).args, null)
    await client.invokeAction({ ref: 'lamp', name: 'fade' }, { to: 3 }, { waitMs: 9 }, signal)
    await client.invokeAction({ ref: 'a/b ?', name: '../x' }, undefined, {}, signal)
    assert.deepEqual(await client.calls(), [HELD, callView()])
    await client.callById('c0ff', { waitMs: 1000 }, signal)
    assert.equal((await client.cancelCall('beef', signal)).state, 'cancelled')
    assert.deepEqual(await client.why('lamp', { name: 'on', limit: 5 }, signal), WHY)
    assert.deepEqual(await client.power(), POWER)
    assert.deepEqual(view.asked.slice(2), [
      ['readProperty', 'lamp', 'on', { ttlMs: 5000 }],
      ['writeProperty', target, value, {}],
      ['writeProperty', target, null, {}],
      ['invokeAction', { ref: 'lamp', name: 'fade' }, { to: 3 }, { waitMs: 9 }],
      ['invokeAction', { ref: 'a/b ?', name: '../x' }, undefined, {}],
      ['calls'],
      ['callById', 'c0ff', { waitMs: 1000 }],
      ['cancelCall', 'beef'],
      ['why', 'lamp', { name: 'on', limit: 5 }],
      ['power'],
    ])
  })

  it('answers 202 while a call waits for its device, and 200 once nothing more will come', async () => {
    await using device = await startFakeDevice()
    const { socketPath } = device
    const put = (ref: string) =>
      raw(socketPath, 'PUT', `/devices/${ref}/properties/on`, '{"value":true}')
    assert.deepEqual([(await put('garden')).status, (await put('lamp')).status], [202, 200])
    const waiting = await raw(socketPath, 'GET', '/calls/beef')
    assert.equal(waiting.status, 202)
    assert.deepEqual(JSON.parse(waiting.text), HELD)
    assert.equal((await raw(socketPath, 'DELETE', '/calls/beef')).status, 200)
  })

  it('streams changes at once, until the client has enough', async () => {
    await using device = await startFakeDevice()
    const rows: unknown[] = []
    for await (const change of device.client.observe('lamp', 'on', signal)) {
      rows.push(change)
      if (rows.length === CHANGES.length) break
    }
    assert.deepEqual(rows, CHANGES)
  })

  it('passes on what the device refused, with the nearest names', async () => {
    await using device = await startFakeDevice()
    await assert.rejects(device.client.readProperty('lamp', 'no', {}, signal), (error: unknown) => {
      assert.ok(error instanceof ApiError)
      assert.deepEqual([error.code, error.status], ['NODE_NOT_FOUND', 404])
      assert.match(error.hint ?? '', /Did you mean/)
      return true
    })
  })
})

const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`

describe('hostile values for devices', () => {
  const bodies: Readonly<Record<string, string>> = {
    'too deep': `{"value":${deep(18)}}`,
    'absurdly deep': `{"value":${deep(20_000)}}`,
    'too many values': `{"value":[${Array.from({ length: 1001 }, () => '0').join(',')}]}`,
    'too long': `{"value":"${'x'.repeat(8192)}"}`,
    'too long in bytes': `{"value":"${'ü'.repeat(4096)}"}`,
    'a prototype': '{"value":{"__proto__":{"admin":true}}}',
    'a constructor deep inside': '{"value":[{"a":{"constructor":1}}]}',
    'no value': '{}',
    'another member': '{"value":1,"verb":"invoke"}',
    'a prototype beside it': '{"value":1,"__proto__":{"ttlMs":1}}',
    'a life of no time': '{"value":1,"ttlMs":0}',
    'a life too long': '{"value":1,"ttlMs":2592000001}',
    'a life that is no number': '{"value":1,"ttlMs":"1000"}',
    'no JSON': '{"value":NaN}',
  }
  for (const [what, body] of Object.entries(bodies)) {
    it(`refuses ${what} before the device is asked`, async () => {
      await using device = await startFakeDevice()
      const { status, text } = await raw(
        device.socketPath,
        'PUT',
        '/devices/lamp/properties/on',
        body,
      )
      assert.equal(status, 400, text)
      assert.equal((JSON.parse(text) as { code: string }).code, 'HTTP_BAD_REQUEST')
      assert.deepEqual(device.view.asked, [])
      assert.ok(text.length < 300)
    })
  }

  it('refuses a body of more than 64 KiB', async () => {
    await using device = await startFakeDevice()
    const body = `{"args":"${'x'.repeat(70_000)}"}`
    const { status } = await raw(device.socketPath, 'POST', '/devices/lamp/actions/toggle', body)
    assert.equal(status, 413)
    assert.deepEqual(device.view.asked, [])
  })

  it('refuses queries outside their bounds', async () => {
    await using device = await startFakeDevice()
    for (const path of [
      '/devices/lamp/properties/on?ttlMs=999',
      '/devices/lamp/properties/on?waitMs=1e3',
      '/devices/lamp/description?values=yes',
      '/devices/lamp/why?limit=0',
      '/devices/lamp/why?limit=1001',
      '/calls/beef?waitMs=-1',
    ]) {
      assert.equal((await raw(device.socketPath, 'GET', path)).status, 400, path)
    }
    assert.deepEqual(device.view.asked, [])
  })

  it('takes every value within the bounds, and changes none', () => {
    const small = fc.jsonValue({ maxDepth: 8 }).filter((value) => {
      const text = JSON.stringify(value)
      return text.length < 2000 && !/__proto__|constructor|prototype/.test(text)
    })
    fc.assert(fc.property(small, (value) => isBoundedJson(value)))
    assert.ok(isBoundedJson(JSON.parse(deep(16)) as Json))
    assert.ok(!isBoundedJson(JSON.parse(deep(18)) as Json))
    assert.ok(isBoundedJson('x'.repeat(8190)))
    assert.ok(!isBoundedJson('x'.repeat(8191)))
  })
})

describe('nearest names', () => {
  const names = ['on', 'brightness', 'label', 'temperature', 'toggle']
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['onn', ['on']],
    ['brigthness', ['brightness']],
    ['bright', ['brightness']],
    ['TEMPERATURE', ['temperature']],
    ['toggel', ['toggle']],
    ['lable', ['label']],
    ['', []],
    ['no', []],
    ['zzzzzz', []],
  ]
  for (const [typed, found] of cases) {
    it(`of "${typed}" are ${found.join(', ') || 'none'}`, () => {
      assert.deepEqual(nearestNames(typed, names), found)
    })
  }

  it('are three at most, the nearest first', () => {
    assert.deepEqual(nearestNames('led1', ['led22', 'led2', 'led3', 'led1x', 'led4']), [
      'led1x',
      'led2',
      'led3',
    ])
  })
})
