/**
 * A process that makes a release from a file and puts it together again, for tests that end it or its
 * disk at any moment. Says what is done.
 *
 *   test/helpers/releasing.ts FOLDER FILE
 */
import path from 'node:path'
import process from 'node:process'

import { systemClock } from '../../node/env.ts'
import { assemble, makeRelease } from '../../node/release/index.ts'
import { openBlobs } from '../../node/storage/blobs.ts'
import { aboutRelease, never } from './release.ts'

const [, , root = '', file = ''] = process.argv
const folder = path.join(root, 'chunks')
await using blobs = await openBlobs({ folder, maxBytes: 1e9, clock: systemClock })
const { release } = await makeRelease({ path: file, about: aboutRelease(1), blobs }, never)
process.stdout.write('made\n')
const options = { blobs, sources: [], memoryBytes: 0 }
await assemble(release, options, path.join(root, 'release'), never)
process.stdout.write('whole\n')
