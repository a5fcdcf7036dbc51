/** What a person says about a release, read into what its index says. */
import { parseDuration } from '../config-values.ts'
import { NodeError } from '../errors.ts'
import {
  INSTALLERS,
  type Health,
  type InstallerName,
  type Target,
} from '../../protocols/update/index.ts'

export interface AboutOptions {
  readonly for: readonly string[]
  readonly installer?: string
  readonly arg: readonly string[]
  readonly health: readonly string[]
}

const MINUTE_S = 60

export function usage(message: string, hint?: string): NodeError {
  return new NodeError('NODE_USAGE', message, hint === undefined ? {} : { hint })
}

/** `hardware=pi-5,group=attic,requires=base:2`; each may be repeated. @throws NodeError NODE_USAGE */
export function targetFrom(said: readonly string[]): Target {
  const found = { hardware: [] as string[], arch: [] as string[], groups: [] as string[] }
  const requires: { name: string; version: string }[] = []
  for (const word of said.flatMap((one) => one.split(','))) {
    const [key, value] = cut(word, '=')
    const [name, version] = cut(value, ':')
    if (value === '') throw usage(`--for ${word}: it is KEY=VALUE.`)
    if (key === 'hardware' || key === 'arch') found[key].push(value)
    else if (key === 'group') found.groups.push(value)
    else if (key === 'requires') requires.push({ name, version })
    else throw usage(`--for ${word}: there are hardware, arch, group and requires.`)
  }
  return {
    hardware: sortedOnce(found.hardware),
    arch: sortedOnce(found.arch),
    groups: sortedOnce(found.groups),
    requires: requires.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  }
}

function sortedOnce(values: readonly string[]): string[] {
  return [...new Set(values)].toSorted()
}

/** `KEY=VALUE`, each. @throws NodeError NODE_USAGE */
export function argsFrom(said: readonly string[]): Record<string, string> {
  const pairs = said.map((one) => {
    const [key, value] = cut(one, '=')
    if (key === '' || !one.includes('=')) throw usage(`--arg ${one}: it is KEY=VALUE.`)
    return [key, value] as const
  })
  return Object.fromEntries(pairs)
}

type Checks = { -readonly [K in keyof Health]?: Health[K] }

/**
 * `http=8080/health`, `command=/usr/bin/check a b`, `reading=temperature:10..40`, and for how long,
 * `for=10s`, `within=2m`. @throws NodeError NODE_USAGE
 */
export function healthFrom(said: readonly string[]): Health | undefined {
  if (said.length === 0) return undefined
  const checks: Checks = {}
  for (const one of said) readCheck(one, checks)
  const { seconds = 10, withinSeconds = 2 * MINUTE_S } = checks
  return { ...checks, seconds, withinSeconds: Math.max(seconds, withinSeconds) }
}

function readCheck(said: string, checks: Checks): void {
  const [key, value] = cut(said, '=')
  switch (key) {
    case 'for':
      checks.seconds = secondsOf(said, value)
      return
    case 'within':
      checks.withinSeconds = secondsOf(said, value)
      return
    case 'command':
      checks.command = value.split(' ').filter((word) => word !== '')
      return
    case 'http':
      checks.http = httpOf(said, value)
      return
    case 'reading':
      checks.reading = readingOf(said, value)
      return
    default:
      throw usage(`--health ${said}: there are http, command, reading, for and within.`)
  }
}

function secondsOf(said: string, value: string): number {
  const ms = parseDuration(value)
  if (ms === undefined || ms < 1_000) throw usage(`--health ${said}: write it like for=10s.`)
  return Math.round(ms / 1_000)
}

function httpOf(said: string, value: string): { port: number; path: string } {
  const [, digits, path = '/'] = /^(\d{1,5})(\/\S*)?$/.exec(value) ?? []
  if (digits === undefined) throw usage(`--health ${said}: write it like http=8080/health.`)
  return { port: Number(digits), path }
}

function readingOf(said: string, value: string): NonNullable<Health['reading']> {
  const [sensor, range] = cut(value, ':')
  const [low = '', high = ''] = range.split('..')
  const number = (text: string): number => {
    const found = Number(text)
    if (!Number.isFinite(found)) throw usage(`--health ${said}: write it like reading=load:0..4.`)
    return found
  }
  return {
    sensor,
    ...(low === '' ? {} : { min: number(low) }),
    ...(high === '' ? {} : { max: number(high) }),
  }
}

const BY_ENDING: readonly (readonly [string, InstallerName])[] = [
  ['.deb', 'deb'],
  ['.raucb', 'rauc'],
  ['.swu', 'swupdate'],
]

/** As said, or by what is published. @throws NodeError NODE_USAGE */
export function installerFor(
  path: string,
  said: string | undefined,
  isFolder: boolean,
): InstallerName {
  if (said !== undefined) {
    const found = INSTALLERS.find((one) => one === said)
    if (found === undefined)
      throw usage(`There is no installer ${said}.`, `There are ${INSTALLERS.join(', ')}.`)
    return found
  }
  const guess = isFolder ? 'tree' : BY_ENDING.find(([ending]) => path.endsWith(ending))?.[1]
  if (guess !== undefined) return guess
  throw usage(
    `How ${path} is installed has to be said.`,
    `Add --installer: ${INSTALLERS.filter((one) => one !== 'tree').join(', ')}.`,
  )
}

/** Before and behind the first `mark`; behind is empty where there is none. */
export function cut(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + mark.length)]
}
