import { html, render } from 'htm/preact'

import { createClient } from './client.ts'
import { Page } from './page.ts'

const body = document.querySelector('#app')
if (body instanceof HTMLElement) render(html`<${Page} client=${createClient()} />`, body)
