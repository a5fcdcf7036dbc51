/** An owner's side: asks one device for its reports and checks each, also against the one before. */
import type { Verifier } from '../identity/index.ts'
import { equalBytes, type Channel } from '../wire/index.ts'
import { Fetch, ReportFrame } from './messages.ts'
import { IncidentsError } from './protocol.ts'
import { openReport, type Report } from './report.ts'

export interface ReaderDeps {
  /** Home id, 32 bytes. */
  readonly home: Uint8Array
  readonly verifier: Verifier
  /** Whose reports, 32 bytes: the device at the other end. */
  readonly device: Uint8Array
  /** The newest report that is kept; undefined for none. */
  readonly last: Pick<Report, 'seq' | 'hash'> | undefined
}

/**
 * What is new, and then what comes. A number that is left out is one that the device no longer keeps.
 *
 * @throws IncidentsError; IdentityError; WireError; the channel's abort reason
 */
export async function* readReports(
  channel: Channel,
  { device, last, ...context }: ReaderDeps,
): AsyncGenerator<Report, void, undefined> {
  let before = last
  await channel.send(Fetch, { from: (last?.seq ?? 0) + 1 })
  for await (const { report: bytes, status } of channel.messages(ReportFrame)) {
    if (status !== undefined) throw new IncidentsError('INCIDENTS_FORBIDDEN')
    if (bytes === undefined) continue
    const report = openReport(bytes, context, device)
    if (!follows(report, before)) throw new IncidentsError('INCIDENTS_BROKEN_CHAIN')
    before = report
    yield report
  }
}

function follows(report: Report, before: ReaderDeps['last']): boolean {
  if (before === undefined || report.seq > before.seq + 1) return true
  return report.seq === before.seq + 1 && equalBytes(report.prev, before.hash)
}
