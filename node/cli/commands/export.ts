/** Readings with their proof: into a file, and the check of such a file. */
import process from 'node:process'

import { NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { ExportVerdict, LogVerdict } from '../../verify.ts'
import type { Cli } from '../context.ts'
import { table } from '../print.ts'
import { saveStream } from '../save.ts'
import { parseTime } from './readings.ts'

interface ExportOptions {
  readonly output: string
  readonly since?: string
  readonly until?: string
}

export async function exportLogs(
  cli: Cli,
  devices: readonly string[],
  { output, ...times }: ExportOptions,
): Promise<void> {
  const now = cli.clock.now()
  const since = parseTime(times.since, now)
  const until = parseTime(times.until, now)
  const pieces = cli.client.exportLogs({ devices, since, until }, cli.signal)
  if (output === '-') {
    for await (const piece of pieces) cli.raw(piece)
    return
  }
  const bytes = await saveStream(output, pieces)
  cli.result({ file: output, bytes }, () => `Wrote ${output}. Check it with: kith verify ${output}`)
}

/** Exit code 1 where something is wrong with the file. */
export async function verify(
  cli: Cli,
  file: string,
  { home }: { readonly home?: string },
): Promise<void> {
  const { verifyFile } = await import('../../verify.ts')
  const verdict = await verifyFile(file)
  if (home !== undefined && (home.length < 12 || !verdict.home.startsWith(home))) {
    throw new NodeError('NODE_USAGE', `The file is of the home ${verdict.home}.`, {
      hint: 'Anybody can make a home and sign in it: trust only the one that you know.',
    })
  }
  if (!verdict.ok) process.exitCode = 1
  cli.result(verdict, () => verdictText(verdict))
}

function verdictText(verdict: ExportVerdict): string {
  const { ok, home, homeName, ops, packs, readings, complete, problems } = verdict
  const what = `${readings} readings in ${packs} packs, ${ops} acts of membership`
  const rows = verdict.logs.map(rowText)
  return [
    `${ok ? 'OK' : 'NOT OK'}: ${what}, of the home ${printable(homeName)} (${home})`,
    ...(complete ? [] : ['The file is not whole.']),
    ...problems.map(({ at, code }) => `byte ${at}: ${code}`),
    table(['DEVICE', 'NAME', 'ROLE', 'PACKS', 'READINGS', 'MISSING', 'FORKS', 'REFUSED'], rows),
  ].join('\n')
}

function rowText({ device, name, role, gaps, ...counts }: LogVerdict): string[] {
  const missing = gaps.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`))
  return [
    device.slice(-8),
    name,
    role,
    String(counts.packs),
    String(counts.readings),
    missing.length === 0 ? '-' : missing.slice(0, 8).join(' '),
    String(counts.forks),
    String(counts.refused),
  ]
}
