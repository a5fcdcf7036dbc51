/**
 * The commands and their options, and nothing of what they do: each loads its code when it runs, so
 * that `kith devices` does not pay for the whole device.
 */
import process from 'node:process'

import { Command, CommanderError, InvalidArgumentError } from 'commander'

import { ROLES } from '../api/view.ts'
import { kithVersion } from '../version.ts'
import { collect, oneOf, type Run } from './commanding.ts'
import { createCli, globalOptions } from './context.ts'
import { addCalls } from './program-calls.ts'
import { addCompletion, addConfig } from './program-config.ts'
import { addUpdates } from './program-update.ts'

type Environment = Readonly<Record<string, string | undefined>>
const SHORT_MS = 30_000
const ALLOW = '--allow <what>'
const FOR = '--for <duration>'
const CALL = '--call <what>'
const CALL_TEXT = 'what a guest may do, like lamp/toggle; may be repeated'

export function createProgram(env: Environment, interrupted: AbortSignal): Command {
  const program = new Command('kith')
  const run: Run =
    (load, { long = false, takesVersion = false } = {}) =>
    async (...args) => {
      if (!takesVersion && program.opts()['version'] !== undefined) showVersion()
      const cli = createCli({
        options: globalOptions(program.opts(), env),
        env,
        interrupted,
        defaultTimeoutMs: long ? undefined : SHORT_MS,
      })
      const action = await load()
      // Commander ends the arguments with the command itself.
      await action(cli, ...(args.slice(0, -1) as never[]))
    }
  addGlobalOptions(program)
  addHome(program, run)
  addDevices(program, run)
  addReadings(program, run)
  addCalls(program, run)
  addUpdates(program, run)
  addExport(program, run)
  addBackup(program, run)
  addCare(program, run)
  addConfig(program, run)
  addCompletion(program, run)
  addOutside(program)
  return program
}

/** For the list of commands: `node/bin.mjs` hands these words to the gateway's own program. */
function addOutside(program: Command): void {
  program
    .command('gateway')
    .description(
      'carry readings out of the home, as far as an owner signed; see kith gateway --help',
    )
  program
    .command('drill')
    .description('find out what needs the outside: cut it at the gateway, and tell what stopped')
    .option('--no-internet <duration>', 'for so long, like 2m')
}

function addGlobalOptions(program: Command): void {
  program
    .description('The devices in your home talk to each other directly.')
    .option('-c, --config <file>', 'settings file')
    .option('--data-dir <dir>', 'keep key, database, settings and socket in this folder')
    .option('--json', 'JSON on standard output and nothing else there')
    .option('-q, --quiet', 'no remarks')
    .option('-v, --verbose', 'more detail')
    .option('-y, --yes', 'do not ask')
    .option('--timeout <duration>', 'give up after, like 10s')
    .option('--no-color', 'no colours')
    .option('--version [version]', 'the version of this program; of a release, for update publish')
    .on('option:version', (value: unknown) => {
      if (value === null || value === undefined || value === '') showVersion()
    })
    .addHelpText(
      'after',
      '\nA DEVICE is a name, a fingerprint or a peer id, or the beginning of one.',
    )
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
}

/** @throws CommanderError, as commander does after its own */
function showVersion(): never {
  process.stdout.write(`${kithVersion()}\n`)
  throw new CommanderError(0, 'commander.version', kithVersion())
}

function addHome(program: Command, run: Run): void {
  program
    .command('up')
    .description('run this device in the foreground')
    .option('--set <key=value>', 'a setting for this run; may be repeated', collect, [])
    .action(run(async () => (await import('./commands/up.ts')).up, { long: true }))
  program
    .command('wake')
    .description('one window of a device that sleeps, while "kith up" does not run')
    .option('--reason <text>', 'why it is awake, for the others and the ledger')
    .action(run(async () => (await import('./commands/wake.ts')).wake, { long: true }))
  program
    .command('home')
    .description('make a home')
    .command('create')
    .argument('<name>', "the home's name")
    .description('make a home; this device is its first owner')
    .option('--device-name <name>', "this device's name")
    .option('--recovery-out <file>', 'write the recovery kit to a new file instead of showing it')
    .action(run(async () => (await import('./commands/home.ts')).createHome, { long: true }))
  program
    .command('pair')
    .description('on the new device: show code and QR, and wait to be added')
    .option('--minutes <n>', 'how long, 1 to 10', minutes)
    .action(run(async () => (await import('./commands/pair.ts')).pair, { long: true }))
  program
    .command('add')
    .argument('[source]', '- to read the code from standard input; without it, you are asked')
    .description("on an owner's device: add the device that shows the code")
    .option('--role <role>', ROLES.join(', '), oneOf(ROLES), 'member')
    .option('--name <name>', 'a name for it')
    .option(ALLOW, 'what a guest may read, like read:temperature.*; may be repeated', collect, [])
    .option(CALL, CALL_TEXT, collect, [])
    .option(FOR, 'how long it may stay, like 2h')
    .option(
      '--code-file <file>',
      'read the code, or the text of the QR, from a file; - for standard input',
    )
    .action(run(async () => (await import('./commands/add.ts')).add, { long: true }))
  program
    .command('recover')
    .description('make this device an owner with the recovery kit')
    .option('--kit-file <file>', 'read the kit from a file; - for standard input')
    .option(
      '--remove <device>',
      'put out a device that was stolen, owner or not; may be repeated',
      collect,
      [],
    )
    .option('--since <time>', 'undo what those devices did since: a date, or a duration like 2d')
    .action(run(async () => (await import('./commands/home.ts')).recover, { long: true }))
  program
    .command('reset')
    .description('forget the home, the readings and the identity of this device')
    .action(run(async () => (await import('./commands/home.ts')).reset, { long: true }))
}

function addDevices(program: Command, run: Run): void {
  const load = async () => import('./commands/devices.ts')
  program
    .command('status')
    .description('this device, its home and its role')
    .action(run(async () => (await load()).status))
  program
    .command('devices')
    .alias('ls')
    .description('the devices of the home')
    .action(run(async () => (await load()).devices))
  program
    .command('show')
    .argument('<device>')
    .description('one device')
    .action(run(async () => (await load()).show))
  program
    .command('rename')
    .argument('<device>')
    .argument('<name>')
    .description('give a device another name')
    .action(run(async () => (await load()).rename))
  program
    .command('grant')
    .argument('<device>')
    .argument('<role>', ROLES.join(', '), oneOf(ROLES))
    .description('give a device another role')
    .option(ALLOW, 'what a guest may read, like read:temperature.*; may be repeated', collect, [])
    .option(CALL, CALL_TEXT, collect, [])
    .option(FOR, 'how long it may stay, like 2h')
    .action(run(async () => (await load()).grant))
  program
    .command('trust')
    .argument('<device>')
    .description('trust a device again that had signed two histories')
    .action(run(async () => (await load()).trust, { long: true }))
  program
    .command('remove')
    .argument('<device>')
    .description('remove a device from the home')
    .option('--reason <text>', 'why: lost, sold, replaced …')
    .action(run(async () => (await load()).remove, { long: true }))
}

function addReadings(program: Command, run: Run): void {
  const load = async () => import('./commands/readings.ts')
  const sensors = program
    .command('sensors')
    .description("this device's sensors, which are on, and who can read them")
  sensors.action(run(async () => (await load()).sensors))
  sensors
    .command('enable')
    .argument('<sensor...>')
    .description('switch sensors on')
    .action(run(async () => (await load()).enable))
  sensors
    .command('disable')
    .argument('<sensor...>')
    .description('switch sensors off')
    .action(run(async () => (await load()).disable))
  sensors
    .command('push')
    .argument(
      '[name-and-value...]',
      'sensor and value, by turns; without them JSON lines from standard input',
    )
    .description('hand in values that another program measured')
    .action(run(async () => (await import('./commands/push.ts')).push, { long: true }))
  program
    .command('watch')
    .argument('[device/sensor]')
    .description('live readings, verified')
    .action(run(async () => (await load()).watch, { long: true }))
  program
    .command('history')
    .argument('<device/sensor>')
    .description('kept readings; gaps are shown')
    .option('--since <time>', 'a date, or a duration back from now, like 2h')
    .option('--until <time>', 'a date, or a duration back from now')
    .option('--every <duration>', 'one summary for each: min, mean, max and last, like 5m')
    .option('--csv', 'as comma-separated values')
    .option('--senml', 'as SenML in JSON (RFC 8428)')
    .action(run(async () => (await load()).history, { long: true }))
}

function addExport(program: Command, run: Run): void {
  const load = async () => import('./commands/export.ts')
  program
    .command('export')
    .argument('[device...]', 'all whose readings are kept here, where none is named')
    .description('write membership and signed readings to a file that anybody can check')
    .requiredOption('-o, --output <file>', 'a new file; - for standard output')
    .option('--since <time>', 'a date, or a duration back from now, like 2h')
    .option('--until <time>', 'a date, or a duration back from now')
    .action(run(async () => (await load()).exportLogs, { long: true }))
  program
    .command('verify')
    .argument('<file>')
    .description('check an exported file; needs no running device')
    .option('--home <id>', 'the home that it must be of')
    .action(run(async () => (await load()).verify, { long: true }))
}

function addBackup(program: Command, run: Run): void {
  const load = async () => import('./commands/backup.ts')
  program
    .command('backup')
    .argument('<file>', 'a new file')
    .description('write settings, membership and kept readings of this device to a file; no key')
    .action(run(async () => (await load()).backup, { long: true }))
  program
    .command('restore')
    .argument('<file>', 'what "kith backup" wrote')
    .description('make a new device of a backup, in an empty folder')
    .action(run(async () => (await load()).restore, { long: true }))
}

function addCare(program: Command, run: Run): void {
  const load = async () => import('./commands/care.ts')
  program
    .command('doctor')
    .description('check this device, and name cause and cure')
    .action(run(async () => (await load()).doctor))
  program
    .command('incidents')
    .argument('[device]')
    .description('what went wrong, signed by the devices; for owners')
    .option('--since <time>', 'a date, or a duration back from now, like 2d')
    .action(run(async () => (await import('./commands/incidents.ts')).incidents))
  program
    .command('dashboard')
    .description('print a link that opens the dashboard once')
    .action(run(async () => (await load()).dashboard))
  program
    .command('version')
    .description('the version of this program')
    .action(run(async () => (await load()).version))
}

function minutes(value: string): number {
  if (/^([1-9]|10)$/.test(value)) return Number(value)
  throw new InvalidArgumentError('It must be from 1 to 10.')
}
