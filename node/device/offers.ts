/** What devices said of themselves, asked before a grant names what a guest may do with them. */
import { modelOf, type ThingModel } from '../../protocols/calls/index.ts'
import { keyOfPeerId } from '../../protocols/identity/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { deviceRows } from './rows.ts'

/** A device that does not answer within this is taken as one of which nothing is known. */
const ASK_MS = 3000

export type Offers = (key: Uint8Array) => ThingModel | undefined

/** `calls` are texts such as `lamp/toggle;n=3`. Devices that cannot be found are left out. */
export async function offersOf(
  base: DeviceBase,
  home: Home,
  calls: readonly string[] = [],
): Promise<Offers> {
  const rows = deviceRows(base, home)
  const models = new Map<string, ThingModel | undefined>()
  const over = new AbortController()
  const cancel = base.clock.timer(ASK_MS, () => over.abort(new Error('it took too long')))
  const ask = async (ref: string): Promise<void> => {
    const key = keyOfPeerId(resolveDevice(ref, rows).id)
    const told = await home.calls.describe(key, over.signal)
    models.set(toHex(key), modelOf(told.text))
  }
  const refs = new Set(calls.map(deviceIn))
  await Promise.allSettled([...refs].map(ask))
  cancel()
  return (key) => models.get(toHex(key))
}

function deviceIn(call: string): string {
  const [what = ''] = call.split(';')
  return what.slice(0, Math.max(0, what.lastIndexOf('/')))
}
