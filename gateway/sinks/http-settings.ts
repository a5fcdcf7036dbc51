/** Files that a sink's settings name: secrets, an authority, a certificate. */
import { NodeError, readSecret, readSmallFile } from '../../node/index.ts'

interface Named {
  readonly name: string
}

/**
 * The secret in the file at `path`, read again each time; checked once now.
 *
 * @throws NodeError NODE_CONFIG
 */
export async function secretOf(
  sink: Named,
  path: string | undefined,
): Promise<(() => Promise<string>) | undefined> {
  if (path === undefined) return undefined
  await usable(sink, readSecret(path))
  return () => readSecret(path)
}

/** As PEM. */
export interface TlsFiles {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

interface TlsKeys extends Named {
  readonly ca_file?: string | undefined
  readonly cert_file?: string | undefined
  readonly key_file?: string | undefined
}

/** @throws NodeError NODE_CONFIG */
export async function tlsOf(sink: TlsKeys): Promise<TlsFiles> {
  const pem = async (path: string | undefined): Promise<string | undefined> =>
    path === undefined ? undefined : await usable(sink, readSmallFile(path))
  const ca = await pem(sink.ca_file)
  const cert = await pem(sink.cert_file)
  const key = await pem(sink.key_file)
  if ((cert === undefined) !== (key === undefined)) {
    throw wrongSink(sink, 'cert_file and key_file need each other')
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  }
}

export function wrongSink({ name }: Named, why: string): NodeError {
  return new NodeError('NODE_CONFIG', `The sink ${name} cannot be used: ${why}.`)
}

async function usable<T>(sink: Named, reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (error) {
    throw wrongSink(sink, error instanceof Error ? error.message : 'a file cannot be read')
  }
}
