import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync, watch } from 'node:fs'
import process from 'node:process'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { listenTo, polledOf, streamOf, tree, valueOf, type Tree } from '../helpers/sensors.ts'

let files: Tree
beforeEach(() => {
  files = tree()
})
afterEach(() => files[Symbol.dispose]())

const NODE = process.execPath

function toml(command: readonly string[], more = ''): string {
  return `[sensor.a]\ntype = "command"\ncommand = ${JSON.stringify(command)}\n${more}\n`
}
const sh = (script: string, more = ''): string => toml(['/bin/sh', '-c', script], more)
const node = (script: string, more = ''): string => toml([NODE, '-e', script], more)

function isAlive(pid: number): boolean {
  try {
    // Signal 0 asks only; a zombie that nobody has collected yet is not alive.
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** The content of `path`, as soon as it has one. */
function written(path: string): Promise<string> {
  return new Promise((resolve) => {
    const watcher = watch(files.root, () => look())
    const look = (): void => {
      const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
      if (!text.endsWith('\n')) return
      watcher.close()
      resolve(text.trim())
    }
    look()
  })
}

/** Resolves when a process is gone, told by the kernel through the pipe that it holds. */
async function gone(pid: number): Promise<void> {
  const tail = spawn('tail', ['--pid', String(pid), '-f', '/dev/null', '-s', '0.02'])
  await new Promise((resolve) => tail.once('exit', resolve))
  assert.equal(isAlive(pid), false)
}

describe('a program that prints one value', () => {
  it('gives a number, or what a pattern or a pointer finds', async () => {
    assert.equal(await valueOf(polledOf(toml(['/bin/echo', '21.5'], 'scale = 2'))), 43)
    assert.equal(
      await valueOf(polledOf(toml(['/bin/echo', "temp=48.3'C"], "pattern = 'temp=([0-9.]+)'"))),
      48.3,
    )
    const json = toml(['/bin/echo', '{"a":[1,2]}'], 'format = "json"\npointer = "/a/1"')
    assert.equal(await valueOf(polledOf(json)), 2)
  })

  it('gets its arguments as they are, without a shell and without our environment', async () => {
    process.env['KITH_TEST_SECRET'] = 'secret'
    const script =
      'console.log(process.argv[1] === "$(id); *" && !("KITH_TEST_SECRET" in process.env) ? 1 : 0)'
    try {
      assert.equal(await valueOf(polledOf(toml([NODE, '-e', script, '$(id); *']))), 1)
    } finally {
      delete process.env['KITH_TEST_SECRET']
    }
  })

  it('fails by its code, by a signal, or where it is none', async () => {
    await assert.rejects(valueOf(polledOf(sh('echo 1; exit 3'))), /ended with 3$/)
    await assert.rejects(valueOf(polledOf(sh('kill -9 $$'))), /ended by SIGKILL$/)
    await assert.rejects(
      valueOf(polledOf(toml(['/nowhere/program']))),
      /cannot be started \(ENOENT\)/,
    )
    await assert.rejects(
      valueOf(polledOf(toml([files.write('no', 'x')]))),
      /cannot be started \(EACCES\)/,
    )
    await assert.rejects(valueOf(polledOf(toml(['/bin/true']))), /no number/)
  })

  it('is ended with its children where it takes too long, whatever it ignores', async () => {
    const pids = files.path('pids')
    const script = `trap "" TERM INT HUP; sleep 1000 & echo $$ $! > ${pids}; while :; do wait; done`
    const reading = valueOf(polledOf(sh(script, 'timeout = "1s"')))
    await assert.rejects(reading, /took longer than 1 s$/)
    for (const pid of (await written(pids)).split(' ').map(Number)) await gone(pid)
  })

  it('is ended where it floods', async () => {
    const source = polledOf(toml(['/usr/bin/yes']))
    await assert.rejects(valueOf(source), /more than 64 KiB/)
  })

  it('takes nobody along who holds its output after its end', async () => {
    // A process that left the group lives on, and has the pipe.
    const pid = files.path('pid')
    const script = `setsid sh -c 'echo $$ > ${pid}; exec sleep 1000' & echo 5; until [ -s ${pid} ]; do :; done`
    assert.equal(await valueOf(polledOf(sh(script))), 5)
    process.kill(Number(await written(pid)), 'SIGKILL')
  })

  it('ends at once with the device', async () => {
    const stop = new AbortController()
    const pid = files.path('pid')
    const reading = valueOf(polledOf(sh(`echo $$ > ${pid}; exec sleep 1000`)), stop.signal)
    const started = Number(await written(pid))
    stop.abort(new Error('stopping'))
    await assert.rejects(reading, /stopping/)
    await gone(started)
  })
})

describe('a program that runs on', () => {
  const ndjson = 'format = "ndjson"\npointer = "/t"'

  it('gives a value for each line, and says which lines are of no use', async () => {
    const lines = '{"t":1}\\n\\nnonsense\\n{"u":1}\\n{"t":1e999}\\n{"t":"x"}\\n{"t":2}\\n'
    await using heard = listenTo(
      streamOf(
        node(
          `process.stdout.write("${lines.replaceAll('"', '\\"')}"); setInterval(() => {}, 1e6)`,
          ndjson,
        ),
      ),
    )
    const said: unknown[] = []
    while (said.at(-1) !== 2) said.push(await heard.next())
    assert.deepEqual(heard.values, [1, 2])
    assert.deepEqual(heard.problems, [
      'the answer is not JSON',
      'there is no value at that place',
      'the value is not a number that can be kept',
      'the value is a text that is no number and not in its map',
    ])
  })

  it('is heard across the cuts of its output', async () => {
    const script =
      'const w=(a)=>{const s=a.shift();if(s)process.stdout.write(s,()=>setImmediate(w,a))};w(["{\\"t\\"",":1}\\n{\\"t\\":","2}","\\n"])'
    await using heard = listenTo(streamOf(node(script, ndjson)))
    assert.deepEqual([await heard.next(), await heard.next()], [1, 2])
    assert.equal(await heard.ended, 'the program ended')
  })

  it('ends where it floods, with lines or without', async () => {
    await using lines = listenTo(streamOf(toml(['/usr/bin/yes', '{"t":1}'], ndjson)))
    assert.equal(await lines.ended, 'the program prints more than 1 MiB in 10 s')
    await using line = listenTo(streamOf(sh("yes | tr -d '\\n'", ndjson)))
    assert.equal(await line.ended, 'the program prints a line above 64 KiB')
  })

  it('ends where it prints nothing for too long', async () => {
    const script = `echo '{"t":1}'; exec sleep 1000`
    await using heard = listenTo(streamOf(sh(script, `${ndjson}\ntimeout = "500ms"`)))
    assert.equal(await heard.ended, 'the program printed nothing for 0.5 s')
    assert.deepEqual(heard.values, [1])
  })

  it('ends with all it started when it is told to', async () => {
    const script = `sleep 1000 & echo "{\\"t\\":$!}"; wait`
    const heard = listenTo(streamOf(sh(script, ndjson)))
    const pid = Number(await heard.next())
    assert.ok(isAlive(pid))
    await heard[Symbol.asyncDispose]()
    await gone(pid)
  })
})

describe('the programs of these tests', () => {
  it('are there', () => {
    for (const program of ['/bin/sh', '/usr/bin/yes', '/bin/echo']) assert.ok(existsSync(program))
    execFileSync('setsid', ['true'])
  })
})
