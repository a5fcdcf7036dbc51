/** The part of client.ts that is about updates. */
import type { Asking } from './client-calls.ts'
import type { UpdateView } from './view.ts'

export function updateClient({ ask, act, lines }: Asking): UpdateView {
  const never = new AbortController().signal
  const channel = (name: string): string => `/updates/channels/${encodeURIComponent(name)}`
  return {
    updates: () => ask('/updates', {}, never),
    trustChannel: (body) => act({ method: 'POST', path: '/updates/channels', body }, never),
    distrustChannel: (name) => act({ method: 'DELETE', path: channel(name) }, never),
    acceptSigned: (name, body) =>
      act({ method: 'POST', path: `${channel(name)}/signed`, body }, never),
    changeRollout: (body) => act({ method: 'PATCH', path: '/updates/rollout', body }, never),
    rollbackUpdate: (name) =>
      act(
        {
          method: 'POST',
          path: `/updates/installed/${encodeURIComponent(name)}/rollback`,
          body: { confirm: true },
        },
        never,
      ),
    forgiveUpdate: (name, build) =>
      act(
        {
          method: 'POST',
          path: `/updates/installed/${encodeURIComponent(name)}/forgive`,
          body: { build },
        },
        never,
      ),
    fetchRelease: (name, query, signal) =>
      lines(`/updates/releases/${encodeURIComponent(name)}/fetch`, { ...query }, signal),
    exportChannel: (name, folder) =>
      act({ method: 'POST', path: `${channel(name)}/export`, body: { folder } }, never),
    importChannel: (name, folder) =>
      act({ method: 'POST', path: `${channel(name)}/import`, body: { folder } }, never),
  }
}
