/**
 * Who may import whom: the table that `layers.test.ts` holds the sources against. Paths are from the
 * root of the project. The linter holds part of the same rules; this is the whole of them.
 */
import path from 'node:path'

import { importsOf, type Import, type SourceFile } from './tree.ts'

export interface Wall {
  /** Files that the rule is for. The first rule that matches a file is the file's rule. */
  readonly files: RegExp
  /** Project files that they may import, besides those of `own`. */
  readonly may: RegExp
  /** Packages and built-in modules that they may import. */
  readonly packages: RegExp
  /** Packages that they may import types of. */
  readonly types?: RegExp
  /** First capture: the folder or file whose parts may import each other. */
  readonly own?: RegExp
}

const NOTHING = /^\b$/
const PROTOCOL_BASE = String.raw`protocols\/(env|errors)\.ts`
const PROTOCOL_INDEX = String.raw`protocols\/[a-z-]+\/index\.ts`
/** Files of node/ itself, but for those that put the device together. */
const BASE = String.raw`node\/(?!(main|node|index|backup|migrations|release|verify|wake)\.ts)[a-z-]+\.ts`
const LIBP2P = String.raw`libp2p|@libp2p\/[a-z-]+|@chainsafe\/[a-z0-9-]+|@multiformats\/[a-z-]+`

/** Any built-in module; any package but libp2p's, which belong to node/mesh. */
const NO_LIBP2P = new RegExp(`^(?!(${LIBP2P})(/|$))`)
const PURE = /^(@noble\/|multiformats(\/|$)|it-pipe$)/

function only(...alternatives: readonly string[]): RegExp {
  return new RegExp(`^(${alternatives.join('|')})$`)
}

export const WALLS: readonly Wall[] = [
  {
    files: /^protocols\/(env|errors)\.ts$/,
    may: NOTHING,
    packages: NOTHING,
  },
  {
    files: /^protocols\/wire\//,
    own: /^(protocols\/wire)\//,
    may: only(PROTOCOL_BASE),
    packages: NOTHING,
    types: /^@libp2p\/interface$/,
  },
  {
    files: /^protocols\/identity\//,
    own: /^(protocols\/identity)\//,
    may: only(PROTOCOL_BASE, String.raw`protocols\/wire\/index\.ts`),
    packages: /^(@noble\/|multiformats\/|node:crypto$)/,
  },
  {
    files: /^protocols\/discovery\//,
    own: /^(protocols\/discovery)\//,
    may: only(PROTOCOL_BASE, String.raw`protocols\/(wire|identity)\/index\.ts`),
    packages: /^(@noble\/|multiformats\/|dns-packet$)/,
  },
  {
    // Arguments are held against a JSON Schema.
    files: /^protocols\/calls\//,
    own: /^(protocols\/calls)\//,
    may: only(PROTOCOL_BASE, String.raw`protocols\/(wire|identity)\/index\.ts`),
    packages: /^(@noble\/|multiformats\/|@cfworker\/json-schema$)/,
  },
  {
    files: /^protocols\//,
    own: /^(protocols\/[a-z-]+)\//,
    may: only(PROTOCOL_BASE, String.raw`protocols\/(wire|identity)\/index\.ts`),
    packages: PURE,
  },
  {
    // Settings of sensors name units, which telemetry knows.
    files: /^node\/config-sensors\.ts$/,
    may: only(BASE, String.raw`protocols\/telemetry\/index\.ts`),
    packages: /^valibot$/,
  },
  {
    // Programs, servers and brokers beside this process, for every service that needs one.
    files: /^node\/machine\//,
    own: /^(node\/machine)\//,
    may: only(PROTOCOL_BASE, String.raw`protocols\/wire\/index\.ts`, BASE),
    packages: NO_LIBP2P,
  },
  {
    files: only(BASE),
    may: only(PROTOCOL_BASE, String.raw`protocols\/identity\/index\.ts`, BASE),
    packages: NO_LIBP2P,
  },
  {
    files: /^node\/storage\//,
    own: /^(node\/storage)\//,
    may: only(PROTOCOL_BASE, PROTOCOL_INDEX, BASE),
    packages: NO_LIBP2P,
  },
  {
    // Releases made and put together: for the program that publishes and for the device's service.
    files: /^node\/release\//,
    own: /^(node\/release)\//,
    may: only(PROTOCOL_BASE, PROTOCOL_INDEX, BASE, String.raw`node\/storage\/.*`),
    packages: NO_LIBP2P,
  },
  {
    files: /^node\/mesh\//,
    own: /^(node\/mesh)\//,
    may: only(PROTOCOL_BASE, PROTOCOL_INDEX, BASE, String.raw`node\/storage\/.*`),
    packages: /./,
  },
  {
    // Sensors are what telemetry reads from: below it, not beside it.
    files: /^node\/services\/telemetry(\/|\.ts$)/,
    own: /^(node\/services\/telemetry)(\/|\.ts$)/,
    may: only(
      PROTOCOL_BASE,
      PROTOCOL_INDEX,
      BASE,
      String.raw`node\/(storage|mesh)\/.*`,
      String.raw`node\/services\/sensors\/index\.ts`,
    ),
    packages: NO_LIBP2P,
  },
  {
    files: /^node\/services\//,
    own: /^(node\/services\/[a-z-]+)(\/|\.ts$)/,
    may: only(
      PROTOCOL_BASE,
      PROTOCOL_INDEX,
      BASE,
      String.raw`node\/(storage|mesh|machine|release)\/.*`,
    ),
    packages: NO_LIBP2P,
  },
  {
    files: /^node\/api\//,
    own: /^(node\/api)\//,
    may: only(PROTOCOL_BASE, String.raw`protocols\/identity\/index\.ts`, BASE),
    packages: NO_LIBP2P,
  },
  {
    files: /^node\/dashboard\//,
    own: /^(node\/dashboard)\//,
    may: only(String.raw`node\/api\/.*`),
    packages: /^(preact|htm|uplot|node:[a-z_]+)(\/|$)/,
  },
  {
    files: /^node\/cli\//,
    own: /^(node\/cli)\//,
    may: only(
      PROTOCOL_BASE,
      BASE,
      String.raw`protocols\/(identity|telemetry|update)\/index\.ts`,
      String.raw`node\/(backup|main|release|verify|wake)\.ts`,
      String.raw`node\/api\/.*`,
    ),
    packages: NO_LIBP2P,
  },
  {
    files: /^node\//,
    own: /^(node)\//,
    may: only(PROTOCOL_BASE, PROTOCOL_INDEX),
    packages: NO_LIBP2P,
  },
  {
    files: /^gateway\//,
    own: /^(gateway)\//,
    may: only(PROTOCOL_BASE, PROTOCOL_INDEX, String.raw`node\/index\.ts`),
    packages: NO_LIBP2P,
  },
  {
    files: /^test\//,
    own: /^(test)\//,
    may: /^(protocols|node|gateway)\//,
    packages: /./,
  },
]

/** What `file` imports and may not, one line each. */
export function breaches(file: SourceFile): string[] {
  const wall = WALLS.find(({ files }) => files.test(file.path))
  if (wall === undefined) return [`${file.path}: belongs to no layer`]
  return importsOf(file.text)
    .filter((one) => !allowed(file.path, one, wall))
    .map(({ specifier }) => `${file.path} may not import ${specifier}`)
}

function allowed(from: string, { specifier, typeOnly }: Import, wall: Wall): boolean {
  if (!specifier.startsWith('.')) {
    return wall.packages.test(specifier) || (typeOnly && wall.types?.test(specifier) === true)
  }
  const to = path.posix.join(path.posix.dirname(from), specifier)
  const own = wall.own?.exec(from)?.[1]
  return wall.may.test(to) || (own !== undefined && wall.own?.exec(to)?.[1] === own)
}
