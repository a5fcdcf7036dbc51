/** Packages that only some sites need: not installed with Kith, loaded where a sink asks for them. */
import { wrongSink } from './http-settings.ts'

/** @throws NodeError NODE_CONFIG that says what to install */
export async function loadPeer<T>(
  sink: { readonly name: string },
  load: () => Promise<T>,
  install: string,
): Promise<T> {
  try {
    return await load()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    const how = `npm install ${install}`
    throw wrongSink(sink, `it needs a package; where Kith is installed, try: ${how}`)
  }
}
