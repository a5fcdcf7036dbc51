/** What devices say about releases: the newest of each device and name, passed on to everybody. */
import { isNewer, openUpdateReport, type UpdateReport } from '../../../protocols/update/index.ts'
import { toHex } from '../../../protocols/wire/index.ts'
import type { ExchangeDeps } from './exchange.ts'

export interface Reports {
  /**
   * @returns the report where it is newer than the one known, by a device that counts
   * @throws UpdateError UPDATE_BAD_REPORT; IdentityError; WireError
   */
  took(bytes: Uint8Array): UpdateReport | undefined
  /** @returns whether it is newer than the one known */
  keep(report: UpdateReport): boolean
  all(): readonly UpdateReport[]
}

/** Names that one device reports about. Beyond them the one that was longest not heard of goes. */
const MAX_NAMES = 64

export function createReports(
  deps: Pick<ExchangeDeps, 'home' | 'isMember' | 'reports' | 'verifier'>,
): Reports {
  const devices = new Map<string, Map<string, UpdateReport>>()

  function keep(report: UpdateReport): boolean {
    const device = toHex(report.device)
    const names = devices.get(device) ?? new Map<string, UpdateReport>()
    const name = `${report.channel}/${report.name}`
    if (!isNewer(report, names.get(name))) return false
    names.delete(name)
    names.set(name, report)
    devices.set(device, names)
    const [oldest] = names.keys()
    if (names.size > MAX_NAMES && oldest !== undefined) names.delete(oldest)
    return true
  }

  for (const report of deps.reports ?? []) keep(report)
  return {
    took(bytes) {
      const report = openUpdateReport(bytes, deps)
      return deps.isMember(report.device) && keep(report) ? report : undefined
    },
    keep,
    all: () =>
      [...devices.values()]
        .flatMap((names) => [...names.values()])
        .filter(({ device }) => deps.isMember(device)),
  }
}
