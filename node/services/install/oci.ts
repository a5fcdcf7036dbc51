/**
 * Images of containers, loaded from an archive by podman or docker. Each version has a tag of its
 * own, and the tag `current` is the one that the container's unit runs.
 *
 *   localhost/kith/<name>:<version>-<build>      localhost/kith/<name>:current
 */
import { InstallError } from './errors.ts'
import { restart } from './restart.ts'
import { restartOf, runProgram } from './run.ts'
import type { Site } from './site.ts'
import { buildName, buildOf, type Build, type InstallContext, type Installer } from './types.ts'
import { basename } from 'node:path'

const LOAD_MS = 1_800_000
const SHORT_MS = 60_000
const LOADED = /^Loaded image(?:\(s\)| ID)?: (\S{1,400})$/m
/** A tag of an image has no `+` and no `~`. */
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/

export function ociInstaller(site: Site): Installer {
  const { root, clock, engine = ['podman'] } = site
  const repository = `localhost/kith/${basename(root).replaceAll(/[^a-z0-9]+/g, '-')}`
  const run = (
    args: readonly string[],
    signal: AbortSignal,
    timeoutMs = SHORT_MS,
  ): Promise<string> => runProgram({ argv: [...engine, ...args], clock, timeoutMs, signal })

  const imageOf = (build: Build): string => `${repository}:${tagOf(build)}`

  async function pointTo(context: InstallContext, build: Build): Promise<void> {
    await run(['tag', imageOf(build), `${repository}:current`], context.signal)
    await restart(site, context)
  }

  /** Image of each tag that Kith made. */
  async function images(signal: AbortSignal): Promise<Map<string, string>> {
    const format = '{{.Repository}}:{{.Tag}} {{.ID}}'
    const text = await run(['images', '--no-trunc', '--format', format, repository], signal)
    return tagsIn(text, repository)
  }

  return {
    name: 'oci',
    async stage({ release, file, signal }) {
      restartOf(release.args, site.restart)
      const image = imageOf(release)
      const [, loaded] = LOADED.exec(await run(['load', '--input', file], signal, LOAD_MS)) ?? []
      if (loaded === undefined)
        throw new InstallError('INSTALL_ARCHIVE', 'The archive holds no image, or more than one.')
      await run(['tag', loaded, image], signal)
      // The name that the archive gave it could stand in for another image of this device.
      if (loaded.startsWith('sha256:')) return
      await run(['rmi', loaded], signal).catch(() => signal.throwIfAborted())
    },
    switch: (context) => pointTo(context, context.release),
    async current(signal) {
      const all = await images(signal)
      const id = all.get('current')
      const tags = [...all].filter(([tag, one]) => tag !== 'current' && one === id)
      return id === undefined
        ? undefined
        : tags.map(([tag]) => buildOf(tag)).find((build) => build !== undefined)
    },
    async confirm() {
      // The tag is all there is.
    },
    async revert(context) {
      if (context.previous !== undefined) return pointTo(context, context.previous)
      if ((await images(context.signal)).has('current'))
        await run(['rmi', `${repository}:current`], context.signal)
    },
    async tidy(keep, signal) {
      const kept = new Set(['current', ...keep.map(buildName)])
      for (const tag of (await images(signal)).keys()) {
        if (!kept.has(tag)) await run(['rmi', `${repository}:${tag}`], signal)
      }
    },
  }
}

/** From lines of image and id. */
function tagsIn(text: string, repository: string): Map<string, string> {
  const rows = text.split('\n').map((line) => line.trim().split(' '))
  const ours = rows.filter(([image = '']) => image.startsWith(`${repository}:`))
  return new Map(ours.map(([image = '', id = '']) => [image.slice(repository.length + 1), id]))
}

/** @throws InstallError INSTALL_ARGUMENTS */
function tagOf(build: Build): string {
  const tag = buildName(build)
  if (TAG.test(tag)) return tag
  const text = `the version ${build.version} cannot name an image`
  throw new InstallError('INSTALL_ARGUMENTS', text)
}
