// The demo identity provider: a certified OpenID Connect server with a handful of people, for this machine only.
// Whoever types a person's name and the password below is signed in as her. Clients are registered by whoever sets one up.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Provider } from 'oidc-provider'

const { issuer, port, password, people, clients } = JSON.parse(readFileSync(process.argv[2], 'utf8'))

const provider = new Provider(issuer, {
  clients,
  pkce: { required: () => true },
  conformIdTokenClaims: false, // e-mail, name and groups stand in the ID token, as most providers have it
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'locale'],
    groups: ['groups'],
  },
  scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'],
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
  },
  cookies: { keys: [createHash('sha256').update(password).digest('hex')] },
  interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
  async findAccount(_, id) {
    const { password: _password, ...claims } = people[id] ?? {}
    return people[id] && { accountId: id, claims: async () => ({ sub: id, ...claims }) }
  },
  // Whoever signs in has consented: it is her own organisation.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId })
    grant.addOIDCScope('openid email profile groups offline_access')
    await grant.save()
    return grant
  },
  ttl: { Session: 3600, Grant: 3600, IdToken: 300, AccessToken: 300, Interaction: 600, AuthorizationCode: 60 },
})

const page = (uid, said) => `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Demo provider</title>
<body style="font: 1.1rem system-ui; max-width: 24rem; margin: 3rem auto; padding: 0 1rem">
<h1>Demo provider</h1>${said ? `<p role="alert">${said}</p>` : ''}
<form method="post" action="/sign-in/${uid}">
<p><label>Name<br><input name="login" autocomplete="username" required></label></p>
<p><label>Password<br><input name="password" type="password" autocomplete="current-password" required></label></p>
<button>Sign in</button></form>`

const body = async (request) => {
  let text = ''
  for await (const chunk of request) text += chunk
  return new URLSearchParams(text)
}

provider.use(async (ctx, next) => {
  const uid = ctx.path.match(/^\/sign-in\/([\w-]+)$/)?.[1]
  if (!uid) return next()
  const { prompt } = await provider.interactionDetails(ctx.req, ctx.res)
  if (ctx.method === 'GET') {
    ctx.body = page(uid, prompt.name === 'login' ? '' : prompt.name)
    return
  }
  const typed = await body(ctx.req)
  if (!people[typed.get('login')] || typed.get('password') !== password) {
    ctx.status = 401
    ctx.body = page(uid, 'Name or password is wrong.')
    return
  }
  ctx.respond = false
  const result = { login: { accountId: typed.get('login') } }
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false })
})

provider.on('server_error', (_, error) => console.error(error))
const server = provider.listen(port, '127.0.0.1', () => console.log(`${issuer} is ready`))
process.on('SIGTERM', () => server.close(() => process.exit(0)) && server.closeAllConnections())
