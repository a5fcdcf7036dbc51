/** The commands about releases. Part of program.ts. */
import { InvalidArgumentError, type Command } from 'commander'

import { collect, oneOf, type Run } from './commanding.ts'
import type { Cli } from './context.ts'
import type { PublishOptions } from './commands/update-publish.ts'

const CHANNEL = '--channel <name>'
const CHANNEL_TEXT = 'where there are several'
const KEYS = '--keys <dir>'
const PASSPHRASE = '--passphrase-file <file>'
const PASSPHRASE_TEXT = 'the passphrase of the keys; - for standard input'
const OUT = '--out <dir>'
const OUT_TEXT = 'write it there to be signed elsewhere, instead of signing here'
const onOff = oneOf(['on', 'off'])

export function addUpdates(program: Command, run: Run): void {
  const update = program.command('update').description('releases that spread from device to device')
  addMaking(program, update, run)
  addSigning(update, run)
  addKeys(update, run)
  addSeeing(update, run)
  addDeciding(update, run)
  addFiles(update, run)
}

function addMaking(program: Command, update: Command, run: Run): void {
  const load = async () => import('./commands/update-publish.ts')
  update
    .command('init')
    .description('make the keys of a channel and have this home trust it')
    .option('--channel <name>', 'its name', 'home')
    .option(KEYS, 'where the keys go that sign releases: a stick, or a folder to be moved to one')
    .option('--root-keys <n>', 'how many keys may change the keys', count, 1)
    .option('--targets-keys <n>', 'how many keys may sign releases', count, 1)
    .option('--threshold <k>', 'how many of them must sign', count, 1)
    .option('--encrypt', 'ask for a passphrase for the keys')
    .option(PASSPHRASE, 'read it from a file; - for standard input')
    .action(run(async () => (await load()).init, { long: true }))
  update
    .command('publish')
    .argument('<path>', 'a file or a folder')
    .description('sign a release and have it spread')
    .option('--name <name>', 'its name; that of the file or folder where none is given')
    .option('--version <version>', 'its version, for people')
    .option('--build <n>', 'which is newer; one more than the last where none is given')
    .option(
      '--for <key=value>',
      'hardware, arch, group, requires=NAME:VERSION; may be repeated',
      collect,
      [],
    )
    .option('--installer <name>', 'tree, deb, exec, rauc, swupdate or oci')
    .option(
      '--arg <key=value>',
      'for the installer, like unit=app.service; may be repeated',
      collect,
      [],
    )
    .option(
      '--health <key=value>',
      'http, command, reading, for, within; may be repeated',
      collect,
      [],
    )
    .option('--security', 'it mends a hole')
    .option('--best', 'as small as it gets, which takes long')
    .option(CHANNEL, CHANNEL_TEXT)
    .option(KEYS, 'where the keys are that sign releases')
    .option(PASSPHRASE, PASSPHRASE_TEXT)
    .option(OUT, OUT_TEXT)
    .action(
      run(
        async () => {
          const { publish } = await load()
          return (cli: Cli, path: string, options: PublishOptions) =>
            publish(cli, path, versionIn(program, options), options)
        },
        { long: true, takesVersion: true },
      ),
    )
}

function addSigning(update: Command, run: Run): void {
  const load = async () => import('./commands/update-sign.ts')
  const change = async () => import('./commands/update-change.ts')
  update
    .command('sign')
    .argument('<path>', 'a draft: its folder, or one file of it')
    .description('add signatures; needs neither network nor a running device')
    .option(KEYS, 'where the keys are')
    .option(CHANNEL, 'where the folder has keys of several channels')
    .option('--root <file>', 'the root in force: says which keys count')
    .option(PASSPHRASE, PASSPHRASE_TEXT)
    .action(run(async () => (await load()).sign, { long: true }))
  update
    .command('withdraw')
    .argument('<name>')
    .argument('<version>', 'a version or a build')
    .description('take a release back: no further device installs it')
    .option(CHANNEL, CHANNEL_TEXT)
    .option(KEYS, 'where the keys are that sign releases')
    .option(PASSPHRASE, PASSPHRASE_TEXT)
    .option(OUT, OUT_TEXT)
    .action(run(async () => (await change()).withdraw, { long: true }))
  update
    .command('submit')
    .argument('[path]', 'the last one that this device wrote where none is given')
    .description('hand in what has all its signatures')
    .option(CHANNEL, CHANNEL_TEXT)
    .action(run(async () => (await load()).submit))
}

function addKeys(update: Command, run: Run): void {
  const load = async () => import('./commands/update-keys.ts')
  const keys = update.command('keys').description('who may sign a channel')
  keys
    .command('new')
    .argument('<role...>', 'root, targets, snapshot or timestamp')
    .description('make keys, and files with their public halves; needs no running device')
    .option('--channel <name>', 'its name', 'home')
    .option(KEYS, 'where keys for root and targets go; others stay with this device')
    .option('--out <dir>', 'where the public halves go; this folder where none is given')
    .option('--encrypt', 'ask for a passphrase for the keys')
    .option(PASSPHRASE, 'read it from a file; - for standard input')
    .action(run(async () => (await load()).newKeys, { long: true }))
  keys
    .command('rotate')
    .argument('[role...]', 'whose keys are replaced; where none is given, they last longer')
    .description('change the keys of a channel; old and new root keys sign')
    .option('--add <file>', 'a public key that may sign too; may be repeated', collect, [])
    .option('--remove <id>', 'a key that may sign no longer; may be repeated', collect, [])
    .option(CHANNEL, CHANNEL_TEXT)
    .option(KEYS, 'where the keys are that sign the change')
    .option('--new-keys <dir>', 'where new keys go; where the old ones are if none is given')
    .option('--root-keys <n>', 'how many new root keys', count)
    .option('--targets-keys <n>', 'how many new keys for releases', count)
    .option('--root-threshold <k>', 'how many root keys must sign', count)
    .option('--targets-threshold <k>', 'how many must sign a release', count)
    .option('--encrypt', 'ask for a passphrase for new keys')
    .option(PASSPHRASE, PASSPHRASE_TEXT)
    .option(OUT, OUT_TEXT)
    .action(run(async () => (await load()).rotate, { long: true }))
}

function versionIn(program: Command, options: object): string {
  const { version } = options as { readonly version?: unknown }
  const said: unknown = version ?? program.opts()['version']
  if (typeof said === 'string' && said !== '') return said
  throw new InvalidArgumentError("required option '--version <version>' not specified")
}

function addSeeing(update: Command, run: Run): void {
  const load = async () => import('./commands/update.ts')
  update
    .command('list')
    .description('channels and their releases')
    .action(run(async () => (await load()).list))
  update
    .command('status')
    .description('which device has what, from whom, and what it waits for')
    .option('-f, --follow', 'and what changes, until it is stopped')
    .action(run(async () => (await load()).status, { long: true }))
}

function addDeciding(update: Command, run: Run): void {
  const load = async () => import('./commands/update-decide.ts')
  update
    .command('pause')
    .argument('[name]')
    .description('fetch and install nothing new in this home, or nothing of one name')
    .action(run(async () => (await load()).pause))
  update
    .command('resume')
    .argument('[name]')
    .description('go on after a pause')
    .action(run(async () => (await load()).resume))
  update
    .command('pin')
    .argument('<name>')
    .argument('[version]', 'a version or a build; the newest again where none is given')
    .description('keep every device at one build, also at an older one')
    .action(run(async () => (await load()).pin))
  update
    .command('defer')
    .argument('<name>')
    .argument('<version>', 'a version or a build')
    .argument('<duration>', 'like 2d')
    .description('install a build only after a while')
    .action(run(async () => (await load()).defer))
  update
    .command('rollout')
    .description('who gets a release when; shows it where nothing is said')
    .option('--ring <share:time>', 'like 1:1h, 10%:1h, 100%; may be repeated', collect, [])
    .option('--halt <percent>', 'stop when more of a ring went back')
    .option('--window <from-to>', 'install only then, like 02:00-05:00; any for all day')
    .option('--dnd <on|off>', 'install nothing while a device is in use', onOff)
    .option('--security-at-once <on|off>', 'what mends a hole does not wait', onOff)
    .option('--group <name>', 'a group of devices')
    .option('--devices <devices>', 'those of the group, with commas; none removes it')
    .action(run(async () => (await load()).rollout))
  update
    .command('rollback')
    .argument('<name>')
    .description('on this device: go back to the version before')
    .action(run(async () => (await load()).rollback, { long: true }))
  update
    .command('forgive')
    .argument('<name>')
    .argument('<version>', 'a version or a build')
    .description('on this device: let a build be tried again that was ill here')
    .action(run(async () => (await import('./commands/update-change.ts')).forgive))
}

function addFiles(update: Command, run: Run): void {
  const load = async () => import('./commands/update.ts')
  update
    .command('fetch')
    .argument('<name>')
    .description('get a release and verify it, without installing')
    .requiredOption('--to <file>', 'a file; of a folder, its tar')
    .option('--build <version>', 'a version or a build; the newest where none is given')
    .action(run(async () => (await load()).fetch, { long: true }))
  update
    .command('inspect')
    .argument('<file>')
    .description('what a key, a file of a channel or an index says; needs no running device')
    .action(run(async () => (await load()).inspect))
  update
    .command('check')
    .argument('<where>', 'a folder with a channel, or its URL')
    .description('judge a channel as a device does; needs no running device with --root or --pin')
    .option('--root <file>', 'its first root')
    .option('--pin <hash>', 'the hash of that')
    .option(CHANNEL, 'whose root this home trusts')
    .option('--memory <dir>', 'remember what was seen, as a device does')
    .action(run(async () => (await import('./commands/update-check.ts')).check))
  update
    .command('trust')
    .argument('<file>', 'the first root of a channel, 1.root.json')
    .description('have this home trust a channel')
    .requiredOption('--channel <name>', 'its name')
    .action(run(async () => (await load()).trust, { long: true }))
  update
    .command('distrust')
    .argument('<channel>')
    .description('have this home trust a channel no more')
    .action(run(async () => (await import('./commands/update-change.ts')).distrust, { long: true }))
  update
    .command('export')
    .argument('<dir>')
    .description('write a channel with its releases to a folder, such as a stick')
    .option(CHANNEL, CHANNEL_TEXT)
    .action(run(async () => (await load()).exportChannel, { long: true }))
  update
    .command('import')
    .argument('<dir>')
    .description('verify a channel from such a folder and take what is new')
    .option(CHANNEL, CHANNEL_TEXT)
    .action(run(async () => (await load()).importChannel, { long: true }))
}

function count(value: string): number {
  if (/^([1-9]|1\d|20)$/.test(value)) return Number(value)
  throw new InvalidArgumentError('It must be from 1 to 20.')
}
