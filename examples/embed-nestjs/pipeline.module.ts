/**
 * A pipeline as a NestJS module: it starts with the application and drains when it shuts down.
 *
 * Node runs TypeScript by removing its types, and decorators are not types. So they are called as functions; with a
 * compiler, write `@Module({ … })` and `@Injectable()` as usual.
 */
import { type DynamicModule, Logger, Module, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common'
import { type PipelineHandle, type PipelineInput, run, type RunOptions } from 'pipeline-runner'

export class PipelineService implements OnModuleInit, OnApplicationShutdown {
  private readonly input: PipelineInput
  private readonly options: RunOptions
  private handle: PipelineHandle | undefined

  constructor(input: PipelineInput, options: RunOptions) {
    this.input = input
    this.options = options
  }

  async onModuleInit(): Promise<void> {
    const log = new Logger('Pipeline')
    this.handle = await run(this.input, {
      logger: {
        debug: (fields, message) => log.debug({ message, ...fields }),
        info: (fields, message) => log.log({ message, ...fields }),
        warn: (fields, message) => log.warn({ message, ...fields }),
        error: (fields, message) => log.error({ message, ...fields }),
      },
      ...this.options,
    })
    // `/health` of the application should look at `status()`; without it, let the process end.
    this.handle.completed.catch((error: Error) => log.error(`the pipeline has stopped: ${error.message}`))
  }

  /** Nest calls it on `app.close()`, and on signals after `app.enableShutdownHooks()`. */
  async onApplicationShutdown(): Promise<void> {
    await this.handle?.stop()
  }

  status(): ReturnType<PipelineHandle['status']> | undefined {
    return this.handle?.status()
  }
}

export class PipelineModule {
  /** Channels in `options.memory` are providers, too: inject them by `channelToken(name)`. */
  static forRoot(input: PipelineInput, options: RunOptions = {}): DynamicModule {
    const channels = Object.entries(options.memory ?? {}).map(([name, useValue]) => ({ provide: channelToken(name), useValue }))
    const service = { provide: PipelineService, useFactory: () => new PipelineService(input, options) }
    return {
      module: PipelineModule,
      global: true,
      providers: [...channels, service],
      exports: [...channels.map(c => c.provide), PipelineService],
    }
  }
}
Module({})(PipelineModule)

export const channelToken = (name: string): string => `pipeline-channel:${name}`
