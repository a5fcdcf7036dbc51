/* What an owner writes into the settings, as installers get it. That it works is for install-programs and install-slots. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { checkTextValue } from '../../node/config-values.ts'
import { siteOf } from '../../node/device/update-site.ts'
import { createInstaller } from '../../node/services/install/index.ts'
import { systemClock } from '../../node/env.ts'
import { loadConfig } from '../../node/config.ts'

async function siteFrom(settings: Readonly<Record<string, string>>, name = 'app') {
  const flags = new Map(Object.entries(settings).map(([key, value]) => [`update.${key}`, value]))
  const place = { env: {}, homeDir: '/nowhere', hostName: 'pi', uid: 1000, flags }
  return siteOf(await loadConfig(place), name)
}

const make = (installer: 'rauc' | 'swupdate', site: Awaited<ReturnType<typeof siteFrom>>) =>
  createInstaller({ installer }, { ...site, root: '/nowhere', clock: systemClock })

describe('settings of installers', () => {
  it('are left out where nothing is set', async () => {
    assert.deepEqual(await siteFrom({}), {})
  })

  it('name programs with their arguments, and how the machine is started anew', async () => {
    const found = await siteFrom({ rauc: 'rauc,-c,/etc/rauc.conf', exec: '/bin/x', oci: 'docker' })
    assert.deepEqual(found, {
      exec: ['/bin/x'],
      engine: ['docker'],
      rauc: { argv: ['rauc', '-c', '/etc/rauc.conf'], reboot: ['systemctl', 'reboot'] },
    })
  })

  it('name the service of one release, and of no other', async () => {
    const settings = { restart: 'app=app.service,other=o.service' }
    assert.deepEqual(await siteFrom(settings), { restart: { unit: 'app.service' } })
    assert.deepEqual(await siteFrom(settings, 'else'), {})
  })

  it('refuse entries of another form, in words', () => {
    for (const [key, bad] of [
      ['update.restart', 'app.service'],
      ['update.restart', 'app=-x.service'],
      ['update.restart', 'app=app.timer'],
      ['update.slots', 'a=stable'],
      ['update.slots', 'a=stable:x y'],
      ['update.slots', 'A=stable:x'],
    ] as const) {
      const found = checkTextValue(key, bad)
      assert.match(found.ok ? '' : found.why, /must have entries of the form that each is /, bad)
    }
  })

  it('refuse a system that is not set up whole, before anything is touched', async () => {
    assert.throws(() => make('rauc', {}), /RAUC is not set up/)
    const swupdate = { swupdate: 'swupdate', slot: '/bin/slot' }
    assert.throws(() => make('swupdate', {}), /not set up on this device with two slots/)
    const one = await siteFrom({ ...swupdate, slots: 'a=s:a' })
    assert.throws(() => make('swupdate', one), /two slots/)
    const mute = await siteFrom({ swupdate: 'swupdate', slots: 'a=s:a,b=s:b' })
    assert.throws(() => make('swupdate', mute), /no program is set/)
  })
})
