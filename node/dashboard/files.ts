/**
 * The files of the dashboard, as the local API hands them out. Nothing is bundled: the browser
 * loads the page's own modules and those of its libraries as they are, and an import map tells it
 * where the libraries' names lead. A checkout serves the TypeScript sources with their types
 * stripped; a package serves what was compiled. Everything comes from this device.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import type { StaticFile } from '../api/server.ts'

const JAVASCRIPT = 'text/javascript; charset=utf-8'
const HTML = 'text/html; charset=utf-8'
const CSS = 'text/css; charset=utf-8'

/** Name in the modules → path here and the file of the package. */
const LIBRARIES: Readonly<Record<string, { readonly at: string; readonly from: string }>> = {
  preact: { at: '/vendor/preact.js', from: 'preact' },
  'preact/hooks': { at: '/vendor/preact-hooks.js', from: 'preact/hooks' },
  htm: { at: '/vendor/htm.js', from: 'htm' },
  'htm/preact': { at: '/vendor/htm-preact.js', from: 'htm/preact' },
  uplot: { at: '/vendor/uplot.js', from: 'uplot/dist/uPlot.esm.js' },
}

const IMPORT_MAP = JSON.stringify({
  imports: Object.fromEntries(Object.entries(LIBRARIES).map(([name, { at }]) => [name, at])),
})
/** For the policy that api/app.ts sends: browsers take an import map from the page alone. */
const IMPORT_MAP_HASH = `sha256-${createHash('sha256').update(IMPORT_MAP).digest('base64')}`

/** Text can never become markup or code: the page makes none that a browser would trust. */
const TRUSTED_TYPES = "require-trusted-types-for 'script'; trusted-types 'none'"

/** Path below the origin → file. Read once, at the start; `/` is the page. */
export async function dashboardFiles(): Promise<ReadonlyMap<string, StaticFile>> {
  const here = path.dirname(fileURLToPath(import.meta.url))
  const extension = path.extname(fileURLToPath(import.meta.url))
  const body = page(`/app/main${extension}`)
  const files = new Map<string, StaticFile>([
    ['/', { type: HTML, body, scriptHashes: [IMPORT_MAP_HASH] }],
    ['/style.css', { type: CSS, body: await readFile(asset(here, 'style.css'), 'utf8') }],
    ['/icon.svg', { type: 'image/svg+xml', body: await readFile(asset(here, 'icon.svg'), 'utf8') }],
    ['/vendor/uplot.css', { type: CSS, body: await readLibrary('uplot/dist/uPlot.min.css') }],
  ])
  for (const { at, from } of Object.values(LIBRARIES)) {
    files.set(at, { type: JAVASCRIPT, body: await readLibrary(from) })
  }
  for (const name of await readdir(path.join(here, 'app'))) {
    if (!name.endsWith(extension) || name.endsWith('.d.ts')) continue
    const source = await readFile(path.join(here, 'app', name), 'utf8')
    const script = extension === '.ts' ? stripTypeScriptTypes(source) : source
    files.set(`/app/${name}`, { type: JAVASCRIPT, body: script })
  }
  return files
}

/** What the compiler does not copy stays in the package's node/dashboard, beside dist/. */
function asset(here: string, name: string): string {
  const root = import.meta.url.endsWith('.ts') ? here : path.join(here, '../../../node/dashboard')
  return path.join(root, name)
}

async function readLibrary(name: string): Promise<string> {
  return await readFile(fileURLToPath(import.meta.resolve(name)), 'utf8')
}

function page(entry: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="${TRUSTED_TYPES}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Kith</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/vendor/uplot.css">
<link rel="stylesheet" href="/style.css">
<script type="importmap">${IMPORT_MAP}</script>
<script type="module" src="${entry}"></script>
<body>
<a class="skip" href="#main">Skip to the devices</a>
<div id="app"></div>
<noscript><p>This page needs JavaScript, all of which comes from this device.</p></noscript>
</body>
</html>
`
}
