/** What the page says in place of devices: what is the matter, and what to do. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'

export function Loading(): VNode {
  return html`<p class="none" role="status">Loading…</p>`
}

export function SignedOut({ refusal }: { readonly refusal: string | undefined }): VNode {
  return html`<section class="card notice" role="status">
    <h2>You are not signed in</h2>
    <p>A sign-in ends after a while, and when Kith is restarted. Run this on the device:</p>
    <pre><code>kith dashboard</code></pre>
    <p>It prints a link that works once. Open it in this browser.</p>
    ${refusal === undefined ? null : html`<p class="meta">The device said: ${refusal}</p>`}
  </section>`
}

export function NoHome({ device }: { readonly device: string }): VNode {
  return html`<section class="card notice" role="status">
    <h2>No home yet</h2>
    <p>
      <strong><bdi>${device}</bdi></strong> does not belong to a home. There are two ways to go on.
    </p>
    <h3>Make a new home</h3>
    <p>This device becomes its first owner. Run on it:</p>
    <pre><code>kith home create "Our home"</code></pre>
    <h3>Join a home that is there already</h3>
    <p>Run this here, and give the code that it shows to a device of that home:</p>
    <pre><code>kith pair</code></pre>
    <p class="meta">This page goes on by itself as soon as there is a home.</p>
  </section>`
}

export function NotMember(): VNode {
  return html`<section class="card notice" role="status">
    <h2>This device was removed</h2>
    <p>
      It is no longer part of this home, and the other devices refuse it. What it knew is shown as
      it was. To join again, run <code>kith reset</code> and then <code>kith pair</code>.
    </p>
  </section>`
}
