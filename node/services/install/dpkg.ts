/** What dpkg knows, and what it is told. */
import type { Clock } from '../../env.ts'
import { InstallError } from './errors.ts'
import { runProgram } from './run.ts'

const DPKG_MS = 900_000
const PACKAGE = /^[a-z0-9][a-z0-9+.-]{1,100}$/
/** Nobody is there to be asked; a version may be older than what is there. */
const QUIET = ['--force-confdef', '--force-confold', '--force-downgrade']

export interface Fields {
  readonly package: string
  readonly version: string
  readonly architecture: string
}

export interface Dpkg {
  /** @throws InstallError INSTALL_PROGRAM, INSTALL_ARCHIVE where the file is no package */
  fieldsOf(file: string, signal: AbortSignal): Promise<Fields>
  /** Of this machine, such as `arm64`. */
  architecture(signal: AbortSignal): Promise<string>
  /** Undefined where nothing of it is unpacked. */
  statusOf(name: string, signal: AbortSignal): Promise<Status | undefined>
  install(file: string, signal: AbortSignal): Promise<void>
  remove(name: string, signal: AbortSignal): Promise<void>
}

export interface Status {
  /** dpkg's word: `installed` where all is done. */
  readonly status: string
  readonly version: string
}

export function createDpkg(clock: Clock, options: readonly string[]): Dpkg {
  /** The options that dpkg-query knows too. */
  const query = options.filter((one) => /^--(admindir|root)=/.test(one))
  const run = (argv: readonly string[], signal: AbortSignal): Promise<string> =>
    runProgram({ argv, clock, timeoutMs: DPKG_MS, signal })

  return {
    async fieldsOf(file, signal) {
      const format = '--showformat=${Package}\\n${Version}\\n${Architecture}\\n'
      const text = await run(['dpkg-deb', '--show', format, file], signal)
      const [name = '', version = '', architecture = ''] = text.split('\n')
      if (!PACKAGE.test(name)) {
        throw new InstallError('INSTALL_ARCHIVE', 'The file is no Debian package.')
      }
      return { package: name, version, architecture }
    },
    architecture: async (signal) =>
      (await run(['dpkg', ...options, '--print-architecture'], signal)).trim(),
    async statusOf(name, signal) {
      const format = '--showformat=${db:Status-Status} ${Version}'
      try {
        const text = await run(['dpkg-query', ...query, '--show', format, name], signal)
        const [status = '', version = ''] = text.trim().split(' ')
        const gone = status === 'not-installed' || status === 'config-files'
        return gone ? undefined : { status, version }
      } catch (error) {
        signal.throwIfAborted()
        const unknown = error instanceof InstallError && error.message.includes('no packages found')
        if (unknown) return undefined
        throw error
      }
    },
    async install(file, signal) {
      // What was cut short is finished first; where that fails, installing says why.
      const pending = run(['dpkg', ...options, '--configure', '--pending'], signal)
      await pending.catch(() => signal.throwIfAborted())
      await run(['dpkg', ...options, ...QUIET, '--install', file], signal)
    },
    remove: async (name, signal) =>
      void (await run(['dpkg', ...options, '--remove', name], signal)),
  }
}
