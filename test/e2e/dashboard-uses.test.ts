/** Using devices from the dashboard, in a real browser. */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'

import type { Browser, Page } from 'playwright-core'

import type { DescriptionView, DeviceRow, NodeView } from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'
import { openPage, startBrowser, startDevice, type Cleanup } from '../helpers/dashboard-page.ts'
import { AT, callView, DESCRIPTION, HELD, WHY } from '../helpers/fake-calls.ts'
import { DEVICES } from '../helpers/fake-view.ts'
import { needs } from '../helpers/tools.ts'

const EVIL = `<img src=x onerror="document.title='owned'">`

const cleanup: Cleanup = []
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step()
})

const [kitchen, , garden] = DEVICES
assert.ok(kitchen && garden)
const ROWS: readonly DeviceRow[] = [
  kitchen,
  { ...kitchen, id: '12D3KooWlamp', name: 'lamp', fingerprint: 'dddd5555', self: false },
  garden,
]

/** Only the lamp and, where `all`, the garden say what they let others do. */
function home(over: Partial<NodeView> = {}): Partial<NodeView> {
  return {
    devices: async () => ROWS,
    description: async (ref) => {
      if (ref.includes('lamp')) return DESCRIPTION
      throw new NodeError('NODE_TIMEOUT', 'It does not answer.')
    },
    ...over,
  }
}

describe('using devices from the dashboard', needs('chromium'), () => {
  let browser: Browser
  before(async () => {
    browser = await startBrowser()
  })
  after(() => browser.close())

  const card = (page: Page, name: string) => page.locator('.device', { hasText: name })

  async function open(over: Partial<NodeView> = {}, width?: number) {
    const device = await startDevice(cleanup, home(over))
    const opened = await openPage(browser, cleanup, width)
    await opened.page.goto(await device.link())
    return { ...opened, device, changes: () => changesIn(device.view.asked) }
  }

  const changesIn = (asked: readonly [string, ...unknown[]][]) =>
    asked.filter(([name]) => name === 'writeProperty' || name === 'invokeAction')

  it('switches, sets and calls what a device offers, and shows what it does then', async () => {
    let on = true
    const { page, complaints, changes } = await open({
      description: async (ref): Promise<DescriptionView> => {
        if (!ref.includes('lamp')) return { ...DESCRIPTION, live: false, description: {} }
        return { ...DESCRIPTION, values: [{ name: 'on', value: on, at: AT }] }
      },
      writeProperty: async ({ name }, value) => {
        if (name === 'on') on = value === true
        return callView()
      },
    })
    const lamp = card(page, 'dddd5555')
    const light = lamp.getByRole('switch', { name: 'On of lamp' })
    await light.waitFor()
    assert.equal(await light.isChecked(), true)
    await light.focus()
    await page.keyboard.press('Space')
    await lamp.locator('input[role=switch]:not(:checked):enabled').waitFor()

    await lamp.getByLabel('Brightness of lamp', { exact: true }).fill('40')
    await lamp.getByRole('button', { name: 'Set Brightness of lamp' }).click()
    await lamp.getByLabel('Label of lamp', { exact: true }).fill('42')
    await page.keyboard.press('Enter')
    await lamp.getByRole('button', { name: 'Toggle: lamp' }).click()
    await lamp.getByLabel('To of Fade, lamp').fill('30')
    await lamp.getByRole('button', { name: 'Fade: lamp' }).click()
    await lamp.getByRole('button', { name: 'Fade: lamp', disabled: false }).waitFor()
    const ref = '12D3KooWlamp'
    assert.deepEqual(changes(), [
      ['writeProperty', { ref, name: 'on' }, false, {}],
      ['writeProperty', { ref, name: 'brightness' }, 40, {}],
      ['writeProperty', { ref, name: 'label' }, '42', {}],
      ['invokeAction', { ref, name: 'toggle' }, undefined, {}],
      ['invokeAction', { ref, name: 'fade' }, { to: 30 }, {}],
    ])
    const readOnly = lamp.locator('.control', { hasText: 'Temperature' })
    assert.equal(await readOnly.count(), 0, 'what can only be read has no field')
    assert.match(
      await lamp.locator('.why').innerText(),
      /on = true by hall-button, rule press-light because button = 1: done/,
    )
    assert.deepEqual(complaints, [])
  })

  it('keeps the switch where the device has it, and says why it was refused', async () => {
    const { page } = await open({
      writeProperty: () =>
        Promise.reject(new NodeError('NODE_DENIED', 'lamp does not let this device do that.')),
    })
    const light = card(page, 'dddd5555').getByRole('switch')
    await light.click()
    await card(page, 'dddd5555').getByText('lamp does not let this device do that.').waitFor()
    assert.equal(await light.isChecked(), true)
  })

  it('refuses numbers outside their bounds before anything is called', async () => {
    const { page, changes } = await open()
    const lamp = card(page, 'dddd5555')
    await lamp.getByLabel('Brightness of lamp', { exact: true }).fill('400')
    await lamp.getByRole('button', { name: 'Set Brightness of lamp' }).click()
    const invalid = lamp.locator('input:invalid')
    assert.equal(await invalid.count(), 1)
    assert.deepEqual(changes(), [])
  })

  it('tells devices that are asleep, late and lost, and calls that wait for them', async () => {
    const now = Date.now()
    const states = (['asleep', 'late', 'lost'] as const).map((state, index): DeviceRow => ({
      ...garden,
      id: `12D3KooWgarden${index}`,
      name: `garden-${state}`,
      state,
      dueAt: now + (state === 'asleep' ? 250_000 : -250_000),
    }))
    const { page } = await open({
      devices: async () => [kitchen, ...states],
      description: async () => ({ ...DESCRIPTION, live: false, values: [] }),
      invokeAction: async () => ({ ...HELD, deliversBy: now + 600_000 }),
    })
    const asleep = card(page, 'garden-asleep')
    await asleep.getByText(/Asleep, due in [34] min/).waitFor()
    await card(page, 'garden-late')
      .getByText(/Late, was due 4 minutes ago/)
      .waitFor()
    await card(page, 'garden-lost')
      .getByText(/Lost, was due 4 minutes ago/)
      .waitFor()
    assert.equal(await card(page, 'kitchen').locator('.due').count(), 0)
    await asleep.getByRole('button', { name: /^Toggle/ }).click()
    await asleep
      .getByText(/The device sleeps; this waits for it\. It has it by \d\d:\d\d\./)
      .waitFor()
  })

  it('shows what devices say of themselves as text, on a narrow screen too', async () => {
    const long = 'no-place-to-break-it-'.repeat(3)
    const { page, complaints } = await open(
      {
        description: async () => ({
          ...DESCRIPTION,
          description: {
            properties: {
              [EVIL]: { type: 'boolean', description: EVIL },
              [long]: { type: 'number', unit: EVIL },
              mode: { enum: [EVIL, long] },
            },
            actions: {
              [long]: { input: { type: 'object', properties: { [long]: { type: 'string' } } } },
              deep: { input: { type: 'object', properties: { a: { type: 'array' } } } },
            },
          },
          values: [{ name: 'mode', value: EVIL, at: AT }],
        }),
        why: async () => WHY.map((row) => ({ ...row, name: EVIL, args: EVIL })),
      },
      360,
    )
    await page.locator('.why').first().waitFor()
    assert.ok((await page.getByText(EVIL).count()) > 0)
    assert.equal(await page.locator('img[src=x]').count(), 0)
    assert.equal(await page.getByRole('button', { name: /^Deep/ }).count(), 0, 'no simple field')
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360)
    assert.deepEqual(complaints, [])
  })
})
