/** The dashboard in a real browser, against the real local API over a device that is made up. */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'

import type { Browser, Page } from 'playwright-core'

import type { DeviceRow, NodeView, Reading } from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'
import {
  openPage as openIn,
  startBrowser,
  startDevice as startFake,
  STATUS,
} from '../helpers/dashboard-page.ts'
import { CODE, DEVICES } from '../helpers/fake-view.ts'
import { needs } from '../helpers/tools.ts'

const EVIL = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step()
})

const startDevice = (over: Partial<NodeView> = {}, port = 0) => startFake(cleanup, over, port)

function reading(value: number, more: Partial<Reading> = {}): Reading {
  const about = { device: '12D3KooWgarden', name: 'garden', sensor: 'temperature', unit: 'Cel' }
  return { ...about, value, at: Date.now(), seq: 1, verified: true, ...more }
}

/** Readings that the test hands over one by one. */
interface Tap {
  readonly watch: NodeView['watch']
  readonly pour: (one: Reading) => void
}

function tap(): Tap {
  const waiting: Reading[] = []
  let wake = Promise.withResolvers<void>()
  return {
    async *watch(_query, signal) {
      const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      while (!signal.aborted) {
        yield* waiting.splice(0)
        await Promise.race([wake.promise, gone])
      }
    },
    pour(one) {
      waiting.push(one)
      wake.resolve()
      wake = Promise.withResolvers()
    },
  }
}

describe('the dashboard in a browser', needs('chromium'), () => {
  let browser: Browser
  before(async () => {
    browser = await startBrowser()
  })
  after(() => browser.close())

  const openPage = (width?: number) => openIn(browser, cleanup, width)
  const card = (page: Page, name: string) => page.locator('.device', { hasText: name })

  it('signs in by a link and shows the devices and readings as they come', async () => {
    const live = tap()
    const device = await startDevice({ watch: live.watch, history: async function* () {} })
    const { page, complaints, asked } = await openPage()
    await page.goto(await device.link())
    await page.getByRole('heading', { name: 'Sunny house' }).waitFor()
    assert.equal(new URL(page.url()).hash, '', 'the secret stays out of the history')
    assert.equal(await page.locator('.device').count(), DEVICES.length)
    assert.match(await card(page, 'garden').innerText(), /Asleep[\s\S]*sensor[\s\S]*0\.1\.0/)

    live.pour(reading(21.46))
    await card(page, 'garden').getByText('21.5 °C').first().waitFor()
    live.pour(reading(22.6, { at: Date.now() + 1 }))
    await card(page, 'garden').getByText('22.6 °C').first().waitFor()
    const chart = card(page, 'garden').getByRole('img', { name: /Temperature in the last hour/ })
    assert.match((await chart.getAttribute('aria-label')) ?? '', /21\.5 °C to 22\.6 °C/)
    assert.equal(await chart.locator('canvas').count(), 1)
    await card(page, 'garden').getByRole('img', { name: 'verified', exact: true }).waitFor()
    live.pour(reading(7, { sensor: 'wind', verified: false }))
    await card(page, 'garden').getByText('not verified').waitFor()
    live.pour(reading(8, { sensor: 'rain', verified: false, source: 'extract' }))
    const rain = card(page, 'garden').locator('[data-sensor=rain]')
    await rain.getByText('told by the device, no proof').waitFor()
    assert.equal(await rain.getByText('not verified').count(), 0)

    assert.deepEqual(complaints, [])
    assert.deepEqual([...asked], [`http://[::1]:${device.api.port}`])
  })

  it('shows names that are markup as text, and its policy stops code', async () => {
    const devices = DEVICES.map((row): DeviceRow => ({ ...row, name: EVIL }))
    const device = await startDevice({
      devices: async () => devices,
      status: async () => ({ ...STATUS, home: { id: 'b', name: EVIL } }),
      history: async function* () {
        yield reading(1, { sensor: EVIL, unit: EVIL, name: EVIL })
      },
    })
    device.view.emit(EVIL, { [EVIL]: EVIL })
    const { page, complaints } = await openPage()
    await page.goto(await device.link())
    await page.locator('.sensor').first().waitFor()
    await page.locator('.events').waitFor()
    await page.getByRole('button', { name: 'Remove' }).first().click()
    await page.getByRole('dialog').getByText('Also removed').waitFor()
    assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), EVIL)
    assert.ok((await page.getByText(EVIL).count()) > DEVICES.length)
    assert.equal(await page.locator('img[src=x], #app script').count(), 0)
    assert.equal(await page.title(), `${EVIL} · Kith`)
    assert.deepEqual(complaints, [])

    const refused = await page.evaluate(() => {
      const script = document.createElement('script')
      try {
        script.text = "document.title = 'owned'"
        document.body.append(script)
      } catch {
        // Trusted Types refuse the text already.
      }
      try {
        document.body.innerHTML = '<b>owned</b>'
        return false
      } catch (error) {
        return error instanceof TypeError
      }
    })
    assert.ok(refused)
    assert.equal(await page.title(), `${EVIL} · Kith`)
  })

  it('says what to do without a session, and with a link that was used', async () => {
    const device = await startDevice()
    const { page } = await openPage()
    const link = await device.link()
    await page.goto(link.replace(/#.*/, ''))
    await page.getByText('You are not signed in').waitFor()
    assert.equal(await page.locator('pre').innerText(), 'kith dashboard')
    await page.goto(link)
    await page.getByRole('heading', { name: 'Devices' }).waitFor()

    const other = await openPage()
    await other.page.goto(link)
    await other.page.getByText('used before, or is too old').waitFor()
  })

  it('says how to get a home, and goes on when there is one', async () => {
    let home: typeof STATUS.home | null = null
    const device = await startDevice({
      status: async () => ({ ...STATUS, home, role: home === null ? null : 'owner' }),
    })
    const { page } = await openPage()
    await page.goto(await device.link())
    await page.getByText('kith home create').waitFor()
    await page.getByText('kith pair').waitFor()
    home = STATUS.home
    device.view.emit('home.renamed', { name: 'Sunny house' })
    await card(page, 'garden').waitFor()
  })

  it('adds a device by its code, and tells why where it fails', async () => {
    let failures = 1
    const device = await startDevice({
      async addDevice({ role, name }) {
        if (failures-- > 0) {
          const hint = 'Ask for a new one with: kith pair'
          throw new NodeError('NODE_PAIRING', 'The code is wrong.', { hint })
        }
        return { device: '12D3KooWlamp', name: name ?? 'lamp', role, fingerprint: 'dddd5555' }
      },
    })
    const { page } = await openPage()
    await page.goto(await device.link())
    const open = page.getByRole('button', { name: 'Add a device' })
    await open.focus()
    await page.keyboard.press('Enter')
    const code = page.getByLabel('Code')
    await page.keyboard.type('3712')
    assert.equal(await code.inputValue(), '37-12', 'the focus is there, and the code is spaced')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').getByText('11 digits').waitFor()
    assert.ok(!device.view.asked.some(([name]) => name === 'addDevice'))
    await page.keyboard.type('3456789')
    await page.getByLabel('Name (optional)').fill('Lamp')
    await page.getByLabel('What it may do').selectOption('sensor')
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByRole('alert').getByText('The code is wrong. Ask for a new one').waitFor()
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText('Lamp now belongs to this home, as sensor').waitFor()
    const call = ['addDevice', { code: CODE, name: 'Lamp', role: 'sensor' }]
    assert.deepEqual(
      device.view.asked.filter(([name]) => name === 'addDevice'),
      [call, call],
    )
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    assert.ok(await open.evaluate((button) => button === document.activeElement))
  })

  it('renames, and removes after telling what that cuts', async () => {
    const device = await startDevice()
    const { page, complaints } = await openPage()
    await page.goto(await device.link())
    await page.getByRole('button', { name: 'Rename garden' }).click()
    await page.getByLabel('New name').fill('Shed')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Remove kitchenette' }).click()
    await page.getByText('Also removed, because only it admitted them: garden').waitFor()
    assert.ok(!device.view.asked.some(([name]) => name === 'remove'))
    await page.getByRole('dialog').getByRole('button', { name: 'Remove', exact: true }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    const changes = device.view.asked.filter(([name]) => name === 'rename' || name === 'remove')
    assert.deepEqual(changes, [
      ['rename', '12D3KooWgarden', 'Shed'],
      ['remove', '12D3KooWkitchenette', {}],
    ])
    assert.equal(await page.getByRole('button', { name: 'Remove kitchen', exact: true }).count(), 0)
    assert.deepEqual(complaints, [])
  })

  it('offers no changes where this device is no owner', async () => {
    const device = await startDevice({
      status: async () => ({ ...STATUS, role: 'guest' }),
      description: () => Promise.reject(new NodeError('NODE_DENIED', 'Not for guests.')),
    })
    const { page } = await openPage()
    await page.goto(await device.link())
    await card(page, 'garden').waitFor()
    assert.equal(await page.getByRole('button').count(), 0)
  })

  it('tries again while the device does not answer', async () => {
    const device = await startDevice()
    const { page } = await openPage()
    await page.goto(await device.link())
    await card(page, 'garden').waitFor()
    await device.api[Symbol.asyncDispose]()
    await page.getByText('This device does not answer.').waitFor()
    assert.equal(await page.locator('.device').count(), DEVICES.length, 'what was known stays')
    const again = await startDevice({}, device.api.port)
    assert.equal(again.api.port, device.api.port)
    // Sessions end with the device's process.
    await page.getByText('You are not signed in').waitFor()
    await page.goto(await again.link())
    await card(page, 'garden').waitFor()
  })

  it('fits a narrow screen', async () => {
    const long = 'a-name-without-any-place-to-break-it-'.repeat(2)
    const devices = DEVICES.map((row): DeviceRow => ({ ...row, name: long }))
    const device = await startDevice({
      devices: async () => devices,
      history: async function* () {
        yield reading(1e9, { sensor: long.slice(0, 64), unit: 'B' })
      },
    })
    const { page } = await openPage(360)
    await page.goto(await device.link())
    await page.locator('.sensor').first().waitFor()
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    assert.equal(width, 360)
  })
})
