#!/usr/bin/env node
// The `kith` command. A checkout runs the sources; a published package has only dist/.
import { existsSync } from 'node:fs'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

import { pickNode, runNode } from './with-node.mjs'

/** The first word that is no option and no option's value. */
function commandOf(args) {
  for (let i = 0; i < args.length; i++) {
    if (['-c', '--config', '--data-dir', '--timeout'].includes(args[i])) i++
    else if (!args[i].startsWith('-')) return args[i]
  }
  return undefined
}

const isGateway = ['gateway', 'drill'].includes(commandOf(process.argv.slice(2)))
const program = isGateway ? 'gateway/cli' : 'node/cli/main'
const source = new URL(`../${program}.ts`, import.meta.url)
const entry = existsSync(source) ? source : new URL(`../dist/${program}.js`, import.meta.url)
const exe = pickNode()
if (exe === process.execPath) await import(entry.href)
else runNode(exe, [fileURLToPath(entry), ...process.argv.slice(2)])
