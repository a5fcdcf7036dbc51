/** What went wrong on the devices of the home, as they signed it. */
import type { IncidentView } from '../../api/view.ts'
import type { Cli } from '../context.ts'
import { dateText, table } from '../print.ts'
import { parseTime } from './readings.ts'

export async function incidents(
  cli: Cli,
  device: string | undefined,
  options: { readonly since?: string },
): Promise<void> {
  const since = parseTime(options.since, cli.clock.now())
  const rows = await cli.client.incidents({ device, since })
  cli.result(rows, () =>
    rows.length === 0
      ? 'No incidents.'
      : table(
          ['WHEN', 'DEVICE', 'WHAT', 'TIMES', 'DETAIL'],
          rows.map((row) => [
            row.clock === 'unset' ? 'unknown' : dateText(row.since),
            row.name,
            row.kind,
            `${row.count}`,
            detailOf(row),
          ]),
        ),
  )
}

function detailOf({ code, subject, stage, places }: IncidentView): string {
  const about = subject === null ? [] : [`by ${subject.name === '' ? subject.id : subject.name}`]
  return [code, stage, ...about, places[0]].filter((part) => typeof part === 'string').join(' ')
}
