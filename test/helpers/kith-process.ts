import { spawn } from 'node:child_process'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))

export interface Run {
  readonly dir?: string
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  /** Called with each line of standard output; may end the process. */
  readonly onLine?: (line: string, kill: (signal: NodeJS.Signals) => void) => void
}

/** One real `kith` process, to its end. `dir` is its data folder and its home. */
export async function kith(args: readonly string[], { dir, input, env, onLine }: Run = {}) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: {
      PATH: process.env['PATH'],
      HOME: dir ?? '/nonexistent',
      ...(dir === undefined ? {} : { KITH_DATA_DIR: dir }),
      ...env,
    },
  })
  let stdout = ''
  let stderr = ''
  let seen = 0
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
    const lines = stdout.split('\n').slice(0, -1)
    for (const line of lines.slice(seen)) onLine?.(line, (signal) => child.kill(signal))
    seen = lines.length
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
  child.stdin.on('error', () => undefined)
  child.stdin.end(input ?? '')
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, stdout, stderr, json: () => JSON.parse(stdout) as Record<string, unknown> }
}
