// Runs `node <args>` on a Node.js that can run Kith: this one where it can, else the one that npm
// installed beside us. Plain JavaScript on purpose: it must parse on any Node.js.
//
//   node with-node.mjs FILE [ARGS…]              run a TypeScript file
//   node with-node.mjs --tool PACKAGE/FILE …     run a tool out of node_modules
//
// Not through node_modules/.bin: npm removes a link there when it skips another platform's package.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const OLDEST_MAJOR = 24
const PARENT_EVERY_MS = 500
const require = createRequire(import.meta.url)

/** The executable to use. Ends the process with an explanation where there is none. */
export function pickNode() {
  const [major] = process.versions.node.split('.').map(Number)
  if (major >= OLDEST_MAJOR && process.features.typescript === 'strip') return process.execPath
  const name = `node-${process.platform}-${process.arch}`
  try {
    return path.join(path.dirname(require.resolve(`${name}/package.json`)), 'bin', 'node')
  } catch {
    process.stderr.write(
      `Kith needs Node.js ${OLDEST_MAJOR} or newer. This is ${process.version}, and the package ${name}, which brings one along, is not installed.\n` +
        `Run "npm ci" again without --omit=optional, or install Node.js ${OLDEST_MAJOR}. Kith brings it along for 64-bit Linux on x86 and ARM.\n`,
    )
    return process.exit(1)
  }
}

/** The process id of npm, which has a shell between itself and us, or not. */
function npmAbove() {
  try {
    const stat = readFileSync(`/proc/${process.ppid}/stat`, 'utf8')
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
    // After the name in brackets: state, parent.
    const above = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    return /^(sh|bash|dash|ash|zsh)$/.test(name) ? above : process.ppid
  } catch {
    return process.ppid
  }
}

/**
 * Run `exe` in place of this process: same terminal, signals passed on, same ending.
 * @param {string} exe
 * @param {string[]} args
 */
export function runNode(exe, args) {
  const bin = path.dirname(exe)
  // Type stripping and SQLite are still called experimental; people need not hear it each time.
  const child = spawn(exe, ['--disable-warning=ExperimentalWarning', ...args], {
    // The channel carries nothing. It breaks when this process is gone, and who listens then ends too.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}` },
  })
  // A terminal sends Ctrl-C to the whole group: the child has it already.
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) child.kill('SIGINT')
  })
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  // npm that was killed says nothing, and leaves its own to another parent.
  if (process.env.npm_lifecycle_event !== undefined) {
    const npm = npmAbove()
    setInterval(() => {
      if (npmAbove() !== npm) child.kill('SIGTERM')
    }, PARENT_EVERY_MS).unref()
  }
  child.on('error', (error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2)
  if (args[0] === '--tool') {
    const root = fileURLToPath(new URL('../node_modules/', import.meta.url))
    args.splice(0, 2, path.join(root, args[1] ?? ''))
  }
  runNode(pickNode(), args)
}
