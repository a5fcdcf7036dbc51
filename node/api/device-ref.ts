/** From what a person typed to one device. */
import { NodeError } from '../errors.ts'
import type { DeviceRow } from './view.ts'

type Named = Pick<DeviceRow, 'id' | 'name' | 'fingerprint' | 'state'>

const SHOWN_CANDIDATES = 8

/**
 * The one device whose name, fingerprint or peer id is `ref`, or else begins with it. Upper and
 * lower case count alike in names; removed devices are looked at only where no other fits.
 *
 * @throws NodeError NODE_NOT_FOUND; NODE_AMBIGUOUS, whose hint lists the candidates
 */
export function resolveDevice<Row extends Named>(ref: string, rows: readonly Row[]): Row {
  const present = rows.filter((row) => row.state !== 'removed')
  const removed = rows.filter((row) => row.state === 'removed')
  for (const group of [present, removed]) {
    for (const fits of [isWhole, isBeginning]) {
      const found = ref === '' ? [] : group.filter((row) => fits(ref, row))
      if (found.length > 1) throw ambiguous(ref, found)
      if (found[0] !== undefined) return found[0]
    }
  }
  throw new NodeError('NODE_NOT_FOUND', `There is no device "${ref}" in this home.`, {
    hint: 'See the devices with: kith devices',
  })
}

function isWhole(ref: string, { id, name, fingerprint }: Named): boolean {
  return id === ref || fingerprint === ref || fold(name) === fold(ref)
}

function isBeginning(ref: string, { id, name, fingerprint }: Named): boolean {
  return id.startsWith(ref) || fingerprint.startsWith(ref) || fold(name).startsWith(fold(ref))
}

function fold(name: string): string {
  return name.normalize('NFC').toLowerCase()
}

function ambiguous(ref: string, found: readonly Named[]): NodeError {
  const shown = found.slice(0, SHOWN_CANDIDATES).map((row) => `${row.name} (${row.fingerprint})`)
  const rest = found.length > shown.length ? ` and ${found.length - shown.length} more` : ''
  return new NodeError('NODE_AMBIGUOUS', `"${ref}" could be any of ${found.length} devices.`, {
    hint: `Say which one: ${shown.join(', ')}${rest}`,
  })
}
