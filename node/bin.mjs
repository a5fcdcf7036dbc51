#!/usr/bin/env node
// The `kith` command. A checkout runs the sources; a published package has only dist/.
import { existsSync } from 'node:fs'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

import { pickNode, runNode } from './with-node.mjs'

const source = new URL('./cli/main.ts', import.meta.url)
const entry = existsSync(source) ? source : new URL('../dist/node/cli/main.js', import.meta.url)
const exe = pickNode()
if (exe === process.execPath) await import(entry.href)
else runNode(exe, [fileURLToPath(entry), ...process.argv.slice(2)])
