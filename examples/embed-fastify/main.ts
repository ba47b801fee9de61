/** Starts the server. The process is this program's, and so are its signals: the pipeline installs no handlers. */
import { buildServer } from './server.ts'

const app = await buildServer({ logger: true, onAlert: alert => app.log.info({ alert }, 'large order') })
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close())
await app.listen({ port: Number(process.env.PORT ?? 3000) })
